"""Check that an export is what its manifest says.

Five things are checked: its files, its base model, its task vectors, that these give its weights,
and its data.
"""

from pathlib import Path

from skunlearn.export.base import ExportOptions, Finding, Job
from skunlearn.export.base_files import as_safetensors, base_files, weight_hashes
from skunlearn.export.manifest import check_files, read_manifest
from skunlearn.export.out_of_core import CheckpointFiles
from skunlearn.export.stored_edit import StoredEdit
from skunlearn.models.loading import LoadOptions
from skunlearn.utils.errors import ModelError, SkunlearnError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.export import FORMATS
from skunlearn.workflows.run_folder import data_sha256, is_run_folder

WEIGHTS = "base + tau gives these weights"


def verify(folder: Path, base: str | None, run: Path | None, progress: Progress) -> list[Finding]:
    """Check an export.

    Args:
        folder: the export.
        base: its base model, when neither the run nor the name in the manifest leads there.
        run: the run folder, or any folder with its task vectors; without it they are not checked.
        progress: reports the work.

    Returns:
        One finding for each check; a check that could not be made says why.

    Raises:
        RunError: when the folder is no export.
    """
    manifest = read_manifest(folder)
    settings: Run | None = None
    if run and is_run_folder(run):
        settings = make_run(read_run(run / "run.yaml"))
    load = LoadOptions(revision=manifest["base"].get("revision"))
    base_name = manifest["base"]["name"]
    if settings:
        load = settings.load
        base_name = settings.model

    files = check_files(folder, manifest, progress)
    base_folder, base_finding = _check_base(manifest, base or base_name, load, progress)
    vectors_finding = _check_vectors(manifest, run)
    weights_finding = Finding(WEIGHTS, "not checked", "needs the same base and task vectors")
    same = base_finding.outcome == vectors_finding.outcome == "ok"
    if same and base_folder and run:
        weights_finding = _check_weights(folder, manifest, base_folder, run, load, progress)
    return [
        files,
        base_finding,
        vectors_finding,
        weights_finding,
        _check_data(manifest, settings),
    ]


def _check_base(
    manifest: JsonDict, name: str, load: LoadOptions, progress: Progress
) -> tuple[Path | None, Finding]:
    """The folder of the base model if it is found, and whether its weights are those listed."""
    try:
        folder = base_files(name, load, progress)
        hashes = weight_hashes(folder, progress)
    except ModelError as error:
        return None, Finding("base weights", "not checked", f"{error} (give --base)")
    return folder, _compare_hashes("base weights", manifest["base"]["files"], hashes)


def _check_vectors(manifest: JsonDict, run: Path | None) -> Finding:
    """Whether the run folder has the task vectors that are listed."""
    if run is None:
        return Finding("task vectors", "not checked", "give --run with the folder that holds them")
    listed = {}
    found = {}
    settings = read_json(run / "settings.json") or {}
    for vector in manifest["vectors"]:
        name = vector["file"]
        listed[name] = vector["sha256"]
        if (run / name).is_file():
            found[name] = file_sha256(run / name)
    if "cleaned" in settings and len(found) < len(listed):
        return Finding("task vectors", "not checked", f"cleaned: {settings['cleaned']}")
    return _compare_hashes("task vectors", listed, found)


def _compare_hashes(name: str, listed: JsonDict, found: JsonDict) -> Finding:
    """Whether all listed files have been found with the same hash.

    Args:
        name: of the check.
        listed: file -> SHA-256 in the manifest.
        found: file -> SHA-256 on disk.
    """
    wrong = []
    for file, sha256 in listed.items():
        if file not in found:
            wrong.append(f"{file} is missing")
        elif found[file] != sha256:
            wrong.append(f"{file} has changed")
    if wrong:
        return Finding(name, "differs", "; ".join(wrong))
    return Finding(name, "ok", f"{len(listed)} files")


def _check_weights(
    folder: Path, manifest: JsonDict, base: Path, run: Path, load: LoadOptions, progress: Progress
) -> Finding:
    """Whether base model and task vectors give the exported weights.

    Args:
        folder: the export.
        manifest: its manifest.
        base: folder of the base model.
        run: folder of the task vectors.
        load: how the base model is loaded.
        progress: reports the work.
    """
    parts = [(run / vector["file"], vector["scale"]) for vector in manifest["vectors"]]
    trust = load.trust_remote_code
    try:
        options = _options(manifest)
        with as_safetensors(base, load, progress) as weights:
            edit = StoredEdit(parts, manifest["options"]["alpha"])
            checkpoint = CheckpointFiles(weights, trust)
            job = Job(base, checkpoint, edit, options, manifest["base"]["name"], trust)
            checkpoint.check_fits(edit)
            found: Finding = FORMATS[options.format].check(job, folder, manifest, progress)
            return found
    except (ModelError, OSError, ValueError, IndexError) as error:  # of a file that was changed
        return Finding(WEIGHTS, "differs", f"cannot be read: {error!s:.160}")


def _options(manifest: JsonDict) -> ExportOptions:
    """The options of the export.

    Raises:
        ValueError: when the manifest has other ones.
    """
    try:
        options = ExportOptions(**manifest["options"])
    except (TypeError, SkunlearnError) as error:
        raise ValueError(f"options of the manifest: {error}") from error
    return options


def _check_data(manifest: JsonDict, run: Run | None) -> Finding:
    """Whether the run's data is what it was at the export."""
    listed = manifest.get("data_sha256")
    if listed is None:
        return Finding("data", "not checked", "its hash was not known when this was exported")
    if run is None:
        return Finding(
            "data", "not checked", "give --run with the run folder, which names its data"
        )
    sha256 = data_sha256(run)
    if sha256.startswith("unknown"):
        return Finding("data", "not checked", sha256)
    return Finding("data", "ok" if sha256 == listed else "differs", f"SHA-256 {sha256[:16]}...")

"""Does an export say the truth about itself: its files, its base, its task vectors, and that these
give its weights."""

from pathlib import Path

from skunlearn.export.base import ExportOptions, Finding, Job
from skunlearn.export.base_files import as_safetensors, base_files, weight_hashes
from skunlearn.export.manifest import check_files, read_manifest
from skunlearn.export.out_of_core import Checkpoint, StoredEdit
from skunlearn.models.loading import LoadOptions
from skunlearn.utils.errors import ModelError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.export import FORMATS
from skunlearn.workflows.run_folder import data_sha256


def verify(folder: Path, base: str | None, run: Path | None, progress: Progress) -> list[Finding]:
    """Check an export.

    Args:
        folder: the export.
        base: its base, when neither the run nor the name in the manifest leads there.
        run: the run folder, or any folder with its task vectors; without it they are not checked.
        progress: is told of the work.

    Returns:
        One finding for each thing; what could not be checked says why.

    Raises:
        RunError: when the folder is no export.
    """
    manifest = read_manifest(folder)
    its = make_run(read_run(run / "run.yaml")) if run and (run / "run.yaml").is_file() else None
    load = its.load if its else LoadOptions(revision=manifest["base"].get("revision"))
    found = [check_files(folder, manifest, progress)]
    try:
        where = base_files(base or (its.model if its else manifest["base"]["name"]), load, progress)
        found.append(
            _same("base weights", manifest["base"]["files"], weight_hashes(where, progress))
        )
    except ModelError as error:
        found.append(Finding("base weights", "not checked", f"{error} (give --base)"))
    wanted = {vector["file"]: vector["sha256"] for vector in manifest["vectors"]}
    if run is None:
        found.append(
            Finding("task vectors", "not checked", "give --run with the folder that holds them")
        )
    else:
        hashes = {name: file_sha256(run / name) for name in wanted if (run / name).is_file()}
        found.append(_same("task vectors", wanted, hashes))
    if all(check.outcome == "ok" for check in found[1:]) and run:
        found.append(_weights(folder, manifest, where, run, load, progress))
    else:
        found.append(
            Finding(
                "base + tau gives these weights",
                "not checked",
                "needs the same base and task vectors",
            )
        )
    return [*found, _data(manifest, its)]


def _data(manifest: JsonDict, run: Run | None) -> Finding:
    wanted = manifest.get("data_sha256")
    if wanted is None:
        return Finding("data", "not checked", "its hash was not known when this was exported")
    if run is None:
        return Finding(
            "data", "not checked", "give --run with the run folder, which knows its data"
        )
    found = data_sha256(run)
    if found.startswith("unknown"):
        return Finding("data", "not checked", found)
    return Finding("data", "ok" if found == wanted else "differs", f"SHA-256 {found[:16]}...")


def _same(name: str, wanted: JsonDict, found: JsonDict) -> Finding:
    wrong = [
        f"{file} {'has changed' if file in found else 'is missing'}"
        for file in wanted
        if found.get(file) != wanted[file]
    ]
    return Finding(name, "differs" if wrong else "ok", "; ".join(wrong) or f"{len(wanted)} files")


def _weights(
    folder: Path, manifest: JsonDict, base: Path, run: Path, load: LoadOptions, progress: Progress
) -> Finding:
    options = ExportOptions(**manifest["options"])
    parts = [(run / vector["file"], vector["scale"]) for vector in manifest["vectors"]]
    trust = load.trust_remote_code
    try:
        with as_safetensors(base, load, progress) as weights:
            edit = StoredEdit(parts, manifest["options"]["alpha"])
            job = Job(
                base, Checkpoint(weights, trust), edit, options, manifest["base"]["name"], trust
            )
            job.checkpoint.check_fits(edit)
            found: Finding = FORMATS[options.format].check(job, folder, manifest, progress)
            return found
    except (
        ModelError,
        OSError,
        ValueError,
        IndexError,
    ) as error:  # a file that is not what it was cannot be read
        return Finding(
            "base + tau gives these weights", "differs", f"cannot be read: {error!s:.160}"
        )

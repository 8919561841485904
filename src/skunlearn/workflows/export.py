"""Export a run's edited model into a folder that others can use, whole or not at all."""

from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from skunlearn.export import adapter, gguf, merged
from skunlearn.export.base import ExportOptions, Job
from skunlearn.export.base_files import as_safetensors, base_files, weight_hashes
from skunlearn.export.manifest import CARD, NAME, read_manifest, unlisted, write_manifest
from skunlearn.export.out_of_core import CheckpointFiles
from skunlearn.export.stored_edit import StoredEdit
from skunlearn.models.builtin import WHEELS
from skunlearn.report.model_card import public, public_name, render
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, whole_folder
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import to_yaml
from skunlearn.workflows.config import Run
from skunlearn.workflows.run_folder import (
    FinishedRun,
    RunFolder,
    check_base,
    data_sha256,
    open_run,
)

FORMATS: dict[str, ModuleType] = {"merged": merged, "adapter": adapter, "gguf": gguf}
# A merged checkpoint keeps the base model's own data type.
DEFAULT_TYPES: dict[str, Any] = {"adapter": "float32", "gguf": "float16"}


def export(run: Path, out: Path, options: ExportOptions, progress: Progress) -> JsonDict:
    """Write an export with its model card and the hashes of its files.

    Args:
        run: a finished run folder.
        out: the new folder; an earlier export there is replaced.
        options: what is written.
        progress: reports the work.

    Returns:
        The contents of skunlearn.json.

    Raises:
        RunError: when the run is not finished, or `out` holds something else than an export.
        ModelError: when the base has changed or cannot be written in this format.
    """
    source = open_run(run)
    _check_out(out)
    check_base(source, progress)
    base = base_files(source.run.model, source.run.load, progress)
    if base.resolve() == out.resolve():
        raise RunError(f"{out} is the base of this run: choose another --out")

    alpha = source.results["alpha"] if options.alpha is None else options.alpha
    dtype = options.dtype or DEFAULT_TYPES.get(options.format)
    options = replace(options, alpha=alpha, dtype=dtype)
    name = public_name(source.run.model)
    trust = source.run.load.trust_remote_code
    with as_safetensors(base, source.run.load, progress) as weights, whole_folder(out) as partial:
        edit = StoredEdit(source.parts, alpha)
        job = Job(base, CheckpointFiles(weights, trust), edit, options, name, trust)
        written = FORMATS[options.format].write(job, partial, progress)
        facts = lineage(source, job, weight_hashes(base, progress)) | written
        attacks = RunFolder(run).attack_rows()
        wheel = asdict(WHEELS[name]) if name in WHEELS else None
        card = render(facts, source.results, attacks, public_settings(source.run), wheel)
        (partial / CARD).write_text(card, encoding="utf-8")
        return write_manifest(partial, facts, progress)


def _check_out(out: Path) -> None:
    """Check that nothing but an earlier export is replaced.

    Raises:
        RunError: when there is something else.
    """
    if out.resolve() == Path.cwd():
        raise RunError(f"--out {out} is where you are: give the export a folder of its own")
    is_export = (out / NAME).is_file()
    is_empty_folder = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_export and not is_empty_folder:
        raise RunError(f"{out} exists and is not an export: choose another --out")
    if out.is_symlink():
        raise RunError(f"{out} is a link: give the folder itself as --out")
    if is_export:
        others = unlisted(out, read_manifest(out))
        if others:
            raise RunError(
                f"{out / others[0]} is no part of the export there: move it, or choose another "
                "--out"
            )


def lineage(source: FinishedRun, job: Job, hashes: dict[str, str]) -> JsonDict:
    """What an export was made from, for the manifest and the model card.

    Args:
        source: the run.
        job: the export.
        hashes: SHA-256 of the base model's weight files.
    """
    run = source.run
    results = source.results
    vectors = []
    for path, scale in source.parts:
        vectors.append({"file": path.name, "scale": scale, "sha256": file_sha256(path)})
    # The data is named only when it is still what the run was trained on.
    sha256 = data_sha256(run)
    unchanged = sha256.startswith(source.settings["data"])
    return {
        "skunlearn": version("skunlearn"),
        "options": asdict(job.options),
        "type": job.options.dtype or "the base's own type",
        "verdict": results["verdict"],
        "gates": results["gates"],
        "measured_alpha": results["alpha"],
        "base": {
            "name": job.name,
            "revision": run.load.revision,
            "licence": licence(job.base, run.model),
            "files": hashes,
        },
        "vectors": vectors,
        "method": public_name(run.method_name),
        "forget": public_name(run.forget) if run.forget else None,
        "retain": public_name(run.retain) if run.retain else None,
        "data": source.settings["data"],
        "data_sha256": sha256 if unchanged else None,
    }


def public_settings(run: Run) -> str:
    """The run file without the folders of this machine."""
    return to_yaml(public(run.as_dict()))


def licence(base: Path, name: str) -> str | None:
    """The base model's licence.

    Args:
        base: its folder, whose model card is read.
        name: its name; built-in models have their licence in a table.

    Returns:
        None when it is not stated.
    """
    if name in WHEELS:
        return WHEELS[name].licence
    from huggingface_hub import ModelCard

    try:
        found = ModelCard.load(base / "README.md", ignore_metadata_errors=True).data.license
    except Exception:  # no card, none with front matter, or front matter that is no YAML
        return None
    return str(found) if found else None

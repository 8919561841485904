"""From a run folder to a folder that others can use, whole or not at all."""

from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from skunlearn.export import adapter, gguf, merged
from skunlearn.export.base import ExportOptions, Job
from skunlearn.export.base_files import as_safetensors, base_files, weight_hashes
from skunlearn.export.manifest import CARD, NAME, read_manifest, unlisted, write_manifest
from skunlearn.export.out_of_core import Checkpoint, StoredEdit
from skunlearn.models.builtin import WHEELS
from skunlearn.report.model_card import public, public_name, render
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, read_json, whole_folder
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import to_yaml
from skunlearn.workflows.config import Run
from skunlearn.workflows.run_folder import FinishedRun, check_base, data_sha256, open_run

FORMATS: dict[str, ModuleType] = {"merged": merged, "adapter": adapter, "gguf": gguf}
DEFAULT_TYPES: dict[str, Any] = {"adapter": "float32", "gguf": "float16"}  # merged keeps the base's


def export(run: Path, out: Path, options: ExportOptions, progress: Progress) -> JsonDict:
    """Write an export with its card and hashes.

    Args:
        run: a finished run folder.
        out: the new folder; an earlier export there is replaced.
        options: what is written.
        progress: is told of the work.

    Returns:
        The contents of skunlearn.json.

    Raises:
        RunError: when the run is not finished, or `out` holds something else than an export.
        ModelError: when the base has changed or cannot be written in this format.
    """
    source = open_run(run)
    if out.resolve() == Path.cwd():
        raise RunError(f"--out {out} is where you are: give the export a folder of its own")
    if (
        out.exists()
        and not (out / NAME).is_file()
        and not (out.is_dir() and not any(out.iterdir()))
    ):
        raise RunError(f"{out} exists and is not an export: choose another --out")
    if out.is_symlink():
        raise RunError(f"{out} is a link: give the folder itself as --out")
    if (out / NAME).is_file() and (others := unlisted(out, read_manifest(out))):
        raise RunError(
            f"{out / others[0]} is no part of the export there: move it, or choose another --out"
        )
    check_base(source, progress)
    base = base_files(source.run.model, source.run.load, progress)
    if base.resolve() == out.resolve():
        raise RunError(f"{out} is the base of this run: choose another --out")
    alpha = source.results["alpha"] if options.alpha is None else options.alpha
    options = replace(
        options, alpha=alpha, dtype=options.dtype or DEFAULT_TYPES.get(options.format)
    )
    name, trust = public_name(source.run.model), source.run.load.trust_remote_code
    with as_safetensors(base, source.run.load, progress) as weights, whole_folder(out) as partial:
        job = Job(
            base, Checkpoint(weights, trust), StoredEdit(source.parts, alpha), options, name, trust
        )
        facts = FORMATS[options.format].write(job, partial, progress)
        facts = lineage(source, job, weight_hashes(base, progress)) | facts
        attacks = (read_json(run / "attacks.json") or {}).get("attacks", [])
        wheel = asdict(WHEELS[name]) if name in WHEELS else None
        card = render(facts, source.results, attacks, public_settings(source.run), wheel)
        (partial / CARD).write_text(card, encoding="utf-8")
        return write_manifest(partial, facts, progress)


def lineage(source: FinishedRun, job: Job, hashes: dict[str, str]) -> JsonDict:
    """What an export comes from, for the manifest and the card."""
    run, results = source.run, source.results
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
        "vectors": [
            {"file": path.name, "scale": scale, "sha256": file_sha256(path)}
            for path, scale in source.parts
        ],
        "method": public_name(run.method_name),
        "forget": public_name(run.forget) if run.forget else None,
        "retain": public_name(run.retain) if run.retain else None,
        "data": source.settings["data"],
        "data_sha256": sha256
        if (sha256 := data_sha256(run)).startswith(source.settings["data"])
        else None,
    }


def public_settings(run: Run) -> str:
    """The run file without the folders of this machine."""
    return to_yaml(public(run.as_dict()))


def licence(base: Path, name: str) -> str | None:
    """The base's licence by its own model card, or by the table of built-in models; None when
    neither says."""
    if name in WHEELS:
        return WHEELS[name].licence
    from huggingface_hub import ModelCard

    try:
        found = ModelCard.load(base / "README.md", ignore_metadata_errors=True).data.license
    except Exception:  # no card, none with front matter, or front matter that is no YAML
        return None
    return str(found) if found else None

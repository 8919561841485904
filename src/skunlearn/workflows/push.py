"""An export to a hub repository: only files that belong in one, and only when the run's gates were
passed."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from skunlearn.export.base_files import BESIDE
from skunlearn.export.manifest import CARD, NAME, check_files, read_manifest, unlisted
from skunlearn.export.out_of_core import INDEX
from skunlearn.utils.errors import ConfigError, RunError
from skunlearn.utils.progress import Progress

ALLOWED = (
    CARD,
    NAME,
    INDEX,
    "model.safetensors",
    "model-*-of-*.safetensors",
    "adapter_model.safetensors",
    "adapter_config.json",
    "*-unlearned-*.gguf",
    "*.py",
    *BESIDE,
)
MOST_ERROR = 0.01  # of an adapter, relative: beyond it the gates say nothing about the export


def push(
    folder: Path,
    repo: str,
    progress: Progress,
    despite_fail: bool = False,
    dry_run: bool = False,
    api: Any = None,
) -> dict[str, Any]:
    """Upload an export in one commit; a repository that is not there yet is made, private.

    Args:
        folder: the export.
        repo: organisation/name on the hub.
        progress: is told of the work.
        despite_fail: also when the gates were not passed, or not measured at this strength.
        dry_run: only say what would be uploaded.
        api: a `huggingface_hub.HfApi`, with the stored token when not given.

    Returns:
        Repository, files, files left behind, and whether they were uploaded.

    Raises:
        RunError: when the folder is no export, has changed, holds what is never uploaded, or its
            gates failed.
        ConfigError: when the repository's name has not the hub's form.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    manifest = read_manifest(folder)
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"repository '{repo}': give organisation/name ({error!s:.80})") from error
    if "/" not in repo:
        raise ConfigError(f"repository '{repo}': give organisation/name")
    if (files := check_files(folder, manifest, progress)).outcome != "ok":
        raise RunError(f"{folder}: {files.detail} since the export: export again")
    names = [*manifest["files"], NAME]
    if wrong := [name for name in names if not any(fnmatch(name, pattern) for pattern in ALLOWED)]:
        raise RunError(
            f"{folder / wrong[0]}: not a file that an export has, so it is never uploaded: export again"
        )
    if (problem := gate_problem(manifest)) and not despite_fail:
        raise RunError(f"{folder}: {problem}: nothing is uploaded without --despite-fail")
    if not dry_run:
        api = api or HfApi()
        operations = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names
        ]
        try:
            api.create_repo(repo, private=True, exist_ok=True)
            api.create_commit(repo, operations, commit_message=f"skunlearn: {manifest['verdict']}")
        except Exception as error:  # the hub client and what it connects with raise a dozen kinds
            advice = (
                "log in with 'hf auth login'"
                if getattr(error, "response", None) is not None
                else "is it reachable?"
            )
            raise RunError(f"the hub refuses '{repo}': {error!s:.160}: {advice}") from error
    return {
        "repo": repo,
        "files": names,
        "left_out": unlisted(folder, manifest),
        "uploaded": not dry_run,
    }


def gate_problem(manifest: dict[str, Any]) -> str:
    """Why an export should not be published; empty when its gates were passed."""
    alpha, measured = manifest["options"]["alpha"], manifest["measured_alpha"]
    if manifest.get("relative_error", 0) > MOST_ERROR or manifest.get("left_out"):
        return f"its adapter is the edit cut to rank {manifest['rank']}, another one than the gates measured"
    if alpha != measured:
        return f"its strength is {alpha:g}, but the gates were measured at {measured:g}"
    if manifest["verdict"] == "PASS":
        return ""
    failed = [gate["text"] for gate in manifest["gates"] if not gate["passed"]]
    return f"the verdict of its run is {manifest['verdict']}" + (
        f" (not met: {'; '.join(failed)})" if failed else ""
    )

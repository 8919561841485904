"""Upload an export to a hub repository.

Only files that belong into an export are uploaded, and only when the run's gates were passed.
"""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from skunlearn.export.base_files import BESIDE
from skunlearn.export.manifest import CARD, NAME, check_files, read_manifest, unlisted
from skunlearn.export.out_of_core import INDEX
from skunlearn.task_vectors.vector_file import is_vector_file
from skunlearn.utils.errors import ConfigError, RunError
from skunlearn.utils.files import JsonDict
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
# The relative error of an adapter beyond which the gates say nothing about the export.
MOST_ERROR = 0.01


def push(
    folder: Path,
    repo: str,
    progress: Progress,
    despite_fail: bool = False,
    dry_run: bool = False,
    api: Any = None,
) -> JsonDict:
    """Upload an export in one commit. A repository that does not exist is created, private.

    Args:
        folder: the export.
        repo: organisation/name on the hub.
        progress: reports the work.
        despite_fail: upload although the gates were not passed, or not measured at this strength.
        dry_run: only return what would be uploaded.
        api: a `huggingface_hub.HfApi`; one with the stored token when not given.

    Returns:
        `repo`, `files`, the files that are `left_out`, and whether they were `uploaded`.

    Raises:
        RunError: when the folder is no export, has changed, holds a file that is never uploaded, or
            its gates failed.
        ConfigError: when the repository's name does not have the hub's form.
    """
    manifest = read_manifest(folder)
    _check_name(repo)
    # The card is written by people, too: it may say more than the one that was exported.
    files = check_files(folder, manifest, progress, except_for=(CARD,))
    if files.outcome != "ok":
        raise RunError(f"{folder}: {files.detail} since the export: export again")
    names = [*manifest["files"], NAME]
    for name in names:
        if not any(fnmatch(name, pattern) for pattern in ALLOWED):
            raise RunError(
                f"{folder / name}: not a file that an export has, so it is never uploaded: "
                "export again"
            )
        if (folder / name).is_symlink():
            raise RunError(f"{folder / name} is a link: put the file itself there")
        if is_vector_file(folder / name):
            raise RunError(
                f"{folder / name}: a task vector, which is never uploaded: delete the file"
            )
    problem = gate_problem(manifest)
    if problem and not despite_fail:
        raise RunError(f"{folder}: {problem}: nothing is uploaded without --despite-fail")
    if not dry_run:
        _upload(folder, repo, names, f"skunlearn: {manifest['verdict']}", api)
    return {
        "repo": repo,
        "files": names,
        "left_out": unlisted(folder, manifest),
        "uploaded": not dry_run,
    }


def _check_name(repo: str) -> None:
    """Check the form of a repository's name.

    Raises:
        ConfigError: when it is not organisation/name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"repository '{repo}': give organisation/name ({error!s:.80})") from error
    if "/" not in repo:
        raise ConfigError(f"repository '{repo}': give organisation/name")


def _upload(folder: Path, repo: str, names: Sequence[str], message: str, api: Any) -> None:
    """Upload files of a folder in one commit.

    Raises:
        RunError: when the hub cannot be reached or rejects the commit.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = api or HfApi()
    operations = []
    for name in names:
        operations.append(CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name))
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        api.create_commit(repo, operations, commit_message=message)
    except Exception as error:  # the hub client and its connections raise a dozen kinds
        answered = getattr(error, "response", None) is not None
        advice = "log in with 'hf auth login'" if answered else "is it reachable?"
        raise RunError(f"the hub refuses '{repo}': {error!s:.160}: {advice}") from error


def gate_problem(manifest: JsonDict) -> str:
    """Why an export should not be published; empty when its gates were passed.

    Args:
        manifest: of the export.
    """
    if manifest.get("relative_error", 0) > MOST_ERROR or manifest.get("left_out"):
        return (
            f"its adapter is the edit cut to rank {manifest['rank']}, another one than the gates "
            "measured"
        )
    alpha = manifest["options"]["alpha"]
    measured = manifest["measured_alpha"]
    if alpha != measured:
        return f"its strength is {alpha:g}, but the gates were measured at {measured:g}"
    if manifest["verdict"] == "PASS":
        return ""
    problem = f"the verdict of its run is {manifest['verdict']}"
    failed = [gate["text"] for gate in manifest["gates"] if not gate["passed"]]
    if failed:
        problem += f" (not met: {'; '.join(failed)})"
    return problem

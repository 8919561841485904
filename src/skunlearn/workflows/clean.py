"""Remove the harmful material from a run folder; numbers and report stay.

Removed are the task vectors, the stored completions, the answers that were flagged in the studio,
the checkpoint of an unfinished training, and unfinished files.

In results.json and the report a mark replaces the texts that may be harmful: harmful prompts and
all answers to them, whatever their verdict, and those answers to ordinary prompts that were not
judged harmless. Labels, categories and confidences stay. Losses and attacks.json hold numbers only.

`settings.json` is changed first, so that the folder no longer counts as a run that can go on.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from skunlearn.evaluation.metrics.catalog import HARMLESS, ORDINARY
from skunlearn.report.run_page import write_report
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, read_json, remove, write_json
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.stored_results import read_results

HARMFUL = ("completions*.jsonl", "base.jsonl", "flagged.jsonl", "state", "*.partial")
VECTORS = ("tau*.safetensors", "tune")
MARK = "[removed by skunlearn clean]"
TEXTS = ("prompt", "answer", "evidence")  # keys of texts that may be harmful


def clean(path: Path, keep_tau: bool = False) -> JsonDict:
    """Clean a run folder, or a comparison's folder with all its runs. It may be done twice.

    Args:
        path: the folder.
        keep_tau: keep the task vectors, so that the run can still be exported.

    Returns:
        `run`, the folder; names of the files `removed` and `rewritten`.

    Raises:
        RunError: when it is no run folder, or is in use.
    """
    if read_json(path / "settings.json") is None:
        raise RunError(f"{path}: not a run folder: give one that 'skunlearn run' made")
    folders = [RunFolder(path)]
    removed: list[Path] = []
    for settings in sorted(path.glob("*/seed-*/settings.json")):  # the runs of a comparison
        seed = settings.parent
        links = [folder for folder in (seed.parent, seed) if folder.is_symlink()]
        if not links:
            folders.append(RunFolder(seed))
        elif links[0] not in removed:  # what a link leads to is somebody else's
            removed.append(links[0])
    rewritten: list[Path] = []
    with ExitStack() as locks:
        for folder in folders:  # all folders are locked before anything is removed
            locks.enter_context(folder.lock(links=True))
        for link in removed:
            remove(link)
        for folder in folders:
            rewritten += _rewrite(folder, keep_tau)
            removed += _remove(folder, keep_tau)
    return {
        "run": str(path),
        "removed": _names(removed, path),
        "rewritten": _names(rewritten, path),
    }


def _names(files: Iterable[Path], folder: Path) -> list[str]:
    """The paths relative to a folder."""
    return [file.relative_to(folder).as_posix() for file in files]


def _rewrite(folder: RunFolder, keep_tau: bool) -> list[Path]:
    """Mark the settings; write results and report without harmful texts. Returns what was written,
    apart from the settings."""
    gone = "completions" if keep_tau else "task vectors and completions"
    settings = read_json(folder / "settings.json") or {}
    write_json(folder / "settings.json", settings | {"cleaned": f"{gone} were removed"})

    results = read_results(folder.path)
    if results is None:
        return []
    results = without_texts(results)
    write_json(folder / "results.json", results)
    write_report(results | {"attacks": folder.attack_rows()}, folder / "report.html")
    return [folder / "results.json", folder / "report.html"]


def _remove(folder: RunFolder, keep_tau: bool) -> list[Path]:
    """Remove the files and folders with harmful material, and return them."""
    patterns = HARMFUL if keep_tau else (*HARMFUL, *VECTORS)
    removed = []
    for pattern in patterns:
        for found in sorted(folder.path.glob(pattern)):
            remove(found)
            removed.append(found)
    return removed


def without_texts(tree: Any, ordinary: bool = False) -> Any:
    """A copy of results with the mark in place of texts that may be harmful.

    Args:
        tree: the results, or a part of them.
        ordinary: whether the part belongs to an ordinary prompt.
    """
    if isinstance(tree, list):
        return [without_texts(item, ordinary) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "group" in tree:
        ordinary = tree["group"] in ORDINARY
    harmless = ordinary and tree.get("label", "safe") in HARMLESS
    cleaned = {}
    for key, value in tree.items():
        if key in TEXTS and isinstance(value, str) and not harmless:
            cleaned[key] = MARK
        else:
            cleaned[key] = without_texts(value, ordinary)
    return cleaned

"""A run folder without its harmful material: numbers and report stay, task vectors and harmful
texts go.

Removed: task vectors, stored completions, answers flagged in the studio, the state of training,
    unfinished files. In
results.json and the report a mark stands for harmful prompts and all answers to them, whatever the
judge said, and for answers to ordinary prompts that were not judged harmless; labels, categories
and confidences stay. Losses and attacks.json hold numbers only. `settings.json` is marked first, so
the folder is no longer taken for a run that can go on.
"""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from skunlearn.evaluation.metrics.catalog import HARMLESS, ORDINARY
from skunlearn.report.run_page import write_report
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, read_json, write_json
from skunlearn.workflows.run_folder import RunFolder

HARMFUL = ("completions*.jsonl", "base.jsonl", "flagged.jsonl", "state", "*.partial")
VECTORS = ("tau*.safetensors", "tune")
MARK = "[removed by skunlearn clean]"
TEXTS = ("prompt", "answer", "evidence")


def clean(path: Path, keep_tau: bool = False) -> JsonDict:
    """Clean a run folder, or a comparison's with all its runs; doing it twice does no harm.

    Args:
        path: the folder.
        keep_tau: leave the task vectors, so that it can still be exported.

    Returns:
        Names of the files removed and rewritten.

    Raises:
        RunError: when it is no run folder, or is in use.
    """
    if read_json(path / "settings.json") is None:
        raise RunError(f"{path}: not a run folder: give one that 'skunlearn run' made")
    within = [
        RunFolder(file.parent) for file in sorted(path.glob("*/seed-*/settings.json"))
    ]  # runs of a comparison
    folders = [RunFolder(path), *within]
    removed: list[Path] = []
    rewritten: list[Path] = []
    with ExitStack() as locks:
        for folder in folders:  # all of them before anything is removed
            locks.enter_context(folder.lock())
        for folder in folders:
            gone, anew = _cleaned(folder, keep_tau)
            removed, rewritten = removed + gone, rewritten + anew
    names = [
        [found.relative_to(path).as_posix() for found in some] for some in (removed, rewritten)
    ]
    return {"run": str(path), "removed": names[0], "rewritten": names[1]}


def _cleaned(folder: RunFolder, keep_tau: bool) -> tuple[list[Path], list[Path]]:
    """What was removed from one folder, and what was written anew."""
    gone = "completions" if keep_tau else "task vectors and completions"
    settings = read_json(folder / "settings.json") or {}
    write_json(folder / "settings.json", settings | {"cleaned": f"{gone} were removed"})
    rewritten = []
    if (results := read_json(folder / "results.json")) is not None:
        write_json(folder / "results.json", results := without_texts(results))
        attacks = (read_json(folder / "attacks.json") or {}).get("attacks", [])
        write_report(results | {"attacks": attacks}, folder / "report.html")
        rewritten += [folder / "results.json", folder / "report.html"]
    removed = []
    for pattern in HARMFUL if keep_tau else (*HARMFUL, *VECTORS):
        for found in sorted(folder.path.glob(pattern)):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
            removed.append(found)
    return removed, rewritten


def without_texts(tree: Any, ordinary: bool = False) -> Any:
    """The tree with the mark in place of texts that may be harmful.

    Args:
        tree: the results.
        ordinary: whether it stands below a row of ordinary prompts.
    """
    if isinstance(tree, list):
        return [without_texts(item, ordinary) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ordinary = tree.get("group") in ORDINARY if "group" in tree else ordinary
    kept = ordinary and tree.get("label", "safe") in HARMLESS
    return {
        key: MARK
        if key in TEXTS and isinstance(value, str) and not kept
        else without_texts(value, ordinary)
        for key, value in tree.items()
    }

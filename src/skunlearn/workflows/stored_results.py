"""The contents of results.json, which somebody may have changed, checked for their types."""

from pathlib import Path
from types import NoneType
from typing import Any

from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.options import LARGEST

# What some values in `results.json` are, for files that somebody may have changed.
RESULTS: dict[str, Any] = {
    "alpha": (int, float, NoneType),
    "verdict": (str, NoneType),
    "gates": list,
    "scores": dict,
    "funnel": list,
    "curve": list,
    "losses": dict,
    "seconds": (dict, NoneType),
    "environment": dict,
    "command": str,
    "run_yaml": str,
}


def read_results(folder: Path) -> JsonDict | None:
    """The contents of a folder's `results.json`; None when there is none.

    Raises:
        RunError: when they are not what a run or an evaluation writes.
    """
    path = folder / "results.json"
    results: JsonDict | None = read_json(path)
    if results is None:
        return None
    for name, kinds in RESULTS.items():
        if not isinstance(results[name], kinds):
            raise RunError(f"{path}: '{name}' is {results[name]!r:.40}: the file was changed")
    for side in ("base", "edited"):
        for name, score in results["scores"][side].items():
            if not isinstance(score, dict):
                raise RunError(f"{path}: scores.{side}.{name} is {score!r:.40}: it was changed")
    for gate in results["gates"]:
        if not isinstance(gate, dict):
            raise RunError(f"{path}: a gate is {gate!r:.40}: the file was changed")
    alpha = results["alpha"]
    if alpha is not None and not 0 <= alpha <= LARGEST:
        raise RunError(f"{path}: 'alpha' is {alpha!r:.40}: the file was changed")
    return results

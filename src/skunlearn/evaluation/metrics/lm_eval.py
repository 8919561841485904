"""Tasks of the language model evaluation harness, run by the harness itself (`lm-eval`, an
extra)."""

import copy
import difflib
import logging
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from skunlearn.data.examples import Example
from skunlearn.evaluation.metrics.base import Score, empty
from skunlearn.evaluation.metrics.likelihood import row_likelihoods
from skunlearn.models.lm import LM
from skunlearn.utils.errors import ConfigError

ROWS_AT_ONCE = 8
RATES = ("acc", "acc_norm", "exact_match")
SEED = 1234  # the harness's own


def harness(lm: LM, tasks: Sequence[str], limit: int) -> dict[str, Score]:
    """What the harness measures of a model as it is now, as `lm_eval:TASK:METRIC`.

    Values are the harness's, without a chat template, few-shot examples as the task has them; the
    interval is 1.96 of its standard errors to both sides. A group with a value of its own stands
    for its tasks. A model whose logits are not numbers has none, whatever the harness makes of
    them.

    Args:
        lm: the model.
        tasks: names that the harness knows, or YAML files of tasks.
        limit: most rows of a task.

    Raises:
        ConfigError: as `load_tasks`.
    """
    loaded = load_tasks(tasks)  # first: it says so when there is no lm-eval
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=lm.model, tokenizer=copy.deepcopy(lm.tokenizer), batch_size=ROWS_AT_ONCE
    )
    found = lm_eval.evaluate(model, loaded, limit=limit, log_samples=False)
    alive = math.isfinite(
        row_likelihoods(lm.model, [lm.template.encode(Example("a", "b"), 10_000)])[0].nll
    )
    return scores_of(found, alive)


def scores_of(found: dict[str, Any], alive: bool) -> dict[str, Score]:
    """The harness's results as scores.

    Args:
        found: what `lm_eval.evaluate` gives.
        alive: whether the model's logits are numbers.
    """
    inside = {
        child for group in found.get("groups", {}) for child in found["group_subtasks"][group]
    }
    directions: dict[str, dict[str, bool | None]] = found["higher_is_better"]
    return {
        f"lm_eval:{task}:{name.removesuffix(',none')}": _score(
            row, name, directions.get(task, {}), alive
        )
        for task, row in found["results"].items()
        if task not in inside
        for name in row
        if "," in name and "_stderr," not in name
    }


def load_tasks(tasks: Sequence[str]) -> Any:
    """The tasks with their data, which the harness may fetch from the hub.

    Raises:
        ConfigError: when the harness is not installed, does not know a task or cannot load its
            data, or when a task runs code that the model writes.
    """
    names = [task for task in tasks if not task.endswith((".yaml", ".yml"))]
    manager = _manager(bool(names))
    if unknown := [name for name in names if name not in manager.all_tasks]:
        near = difflib.get_close_matches(unknown[0], manager.all_tasks, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "'lm-eval ls tasks' names all"
        raise ConfigError(f"evaluate.lm_eval: no task '{unknown[0]}': {hint}")
    try:
        loaded = manager.load(list(tasks))
    except Exception as error:  # YAML, the hub and data sets raise a dozen kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise ConfigError(
            f"evaluate.lm_eval: {', '.join(tasks)} cannot be loaded ({reason})"
        ) from error
    for name, task in loaded["tasks"].items():
        if getattr(task, "UNSAFE_CODE", False):
            raise ConfigError(
                f"evaluate.lm_eval: task '{name}' runs code that the model writes: leave it out"
            )
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=SEED)
    return loaded


@cache
def _manager(with_names: bool) -> Any:
    """To know its own tasks the harness reads some fourteen thousand files; for files alone it need
    not."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ConfigError(
            "evaluate.lm_eval needs the harness: pip install 'skunlearn[lm-eval]'"
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_defaults=with_names)


def _score(row: dict[str, Any], name: str, higher: dict[str, bool | None], alive: bool) -> Score:
    value, (metric, _, form) = row[name], name.partition(",")
    unit, is_better, n = (
        "rate" if metric in RATES else metric,
        higher.get(metric) is not False,
        row["sample_len"],
    )
    if not alive or not math.isfinite(value):
        return empty(unit, is_better, n)
    error = row.get(f"{metric}_stderr,{form}")
    if not (isinstance(error, float) and math.isfinite(error)):  # "N/A" of a single row
        return Score(value, None, None, n, 0, unit, is_better)
    low, high = value - 1.96 * error, value + 1.96 * error
    if unit == "rate":
        low, high = max(0.0, low), min(1.0, high)
    return Score(value, low, high, n, 0, unit, is_better)

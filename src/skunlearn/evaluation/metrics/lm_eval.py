"""Tasks of the language model evaluation harness (`lm-eval`, an extra), run by the harness
itself."""

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
from skunlearn.utils.consent import check_code
from skunlearn.utils.errors import ConfigError

ROWS_AT_ONCE = 8
RATES = ("acc", "acc_norm", "exact_match")
SEED = 1234  # the harness's own
Z = 1.96  # the normal quantile of a 95 % interval


def harness(lm: LM, tasks: Sequence[str], limit: int) -> dict[str, Score]:
    """The harness's metrics of the model as it is now, as `lm_eval:TASK:METRIC`.

    Values are the harness's, without a chat template, with the few-shot examples of the task. The
    interval is 1.96 of the harness's standard errors to both sides. A group of tasks that has a
    value of its own replaces its tasks. A model with NaN logits is unscored, whatever the harness
    computes from them.

    Args:
        lm: the model.
        tasks: names of the harness, or YAML files of tasks.
        limit: most rows of a task.

    Raises:
        ConfigError: as `load_tasks`.
    """
    loaded = load_tasks(tasks)  # before the imports: its error says how to install lm-eval
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    tokenizer = copy.deepcopy(lm.tokenizer)  # the harness changes its settings
    model = HFLM(pretrained=lm.model, tokenizer=tokenizer, batch_size=ROWS_AT_ONCE)
    results = lm_eval.evaluate(model, loaded, limit=limit, log_samples=False)

    probe = lm.template.encode(Example("a", "b"), 10_000)
    has_finite_logits = math.isfinite(row_likelihoods(lm.model, [probe])[0].nll)
    return scores_of(results, has_finite_logits)


def scores_of(results: dict[str, Any], has_finite_logits: bool) -> dict[str, Score]:
    """The harness's results as scores.

    Args:
        results: of `lm_eval.evaluate`.
        has_finite_logits: whether the model's logits are finite; without that all is unscored.
    """
    in_groups: set[str] = set()
    for group in results.get("groups", {}):
        in_groups.update(results["group_subtasks"][group])
    directions: dict[str, dict[str, bool | None]] = results["higher_is_better"]
    scores: dict[str, Score] = {}
    for task, row in results["results"].items():
        if task in in_groups:
            continue
        for column in row:
            # Columns of metrics are "METRIC,FILTER" and "METRIC_stderr,FILTER".
            if "," not in column or "_stderr," in column:
                continue
            name = f"lm_eval:{task}:{column.removesuffix(',none')}"
            scores[name] = _score(row, column, directions.get(task, {}), has_finite_logits)
    return scores


def load_tasks(tasks: Sequence[str]) -> Any:
    """The tasks with their data, which the harness may download from the hub.

    Args:
        tasks: names of the harness, or YAML files of tasks.

    Raises:
        ConfigError: when the harness is not installed, has no such task or cannot load its data, or
            when a task runs code that the model writes.
    """
    names = [task for task in tasks if not task.endswith((".yaml", ".yml"))]
    for task in set(tasks) - set(names):  # a file of a task may run code
        check_code(task, "lm-eval task")
    manager = _manager(bool(names))
    for name in names:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "'lm-eval ls tasks' names all"
            raise ConfigError(f"evaluate.lm_eval: no task '{name}': {hint}")
    try:
        loaded = manager.load(list(tasks))
    except Exception as error:  # YAML, the hub and data sets raise a dozen kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"evaluate.lm_eval: {', '.join(tasks)} cannot be loaded ({lines[0][:160]})"
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
    """The harness's task manager.

    To list its own tasks the harness reads some fourteen thousand files, so for YAML files alone
    the list is left out.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ConfigError(
            "evaluate.lm_eval needs the harness: pip install 'skunlearn[lm-eval]'"
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_defaults=with_names)


def _score(
    row: dict[str, Any],
    column: str,
    directions: dict[str, bool | None],
    has_finite_logits: bool,
) -> Score:
    """One metric of one task.

    Args:
        row: the task's results.
        column: "METRIC,FILTER".
        directions: metric -> whether higher is better, as the task says.
        has_finite_logits: see `scores_of`.
    """
    metric, _, decoding_filter = column.partition(",")
    value = row[column]
    n = row["sample_len"]
    unit = "rate" if metric in RATES else metric
    is_better = directions.get(metric) is not False
    if not has_finite_logits or not math.isfinite(value):
        return empty(unit, is_better, n)
    error = row.get(f"{metric}_stderr,{decoding_filter}")
    # The harness has "N/A" for a single row.
    if not isinstance(error, float) or not math.isfinite(error):
        return Score(value, None, None, n, 0, unit, is_better)
    low = value - Z * error
    high = value + Z * error
    if unit == "rate":
        low = max(0.0, low)
        high = min(1.0, high)
    return Score(value, low, high, n, 0, unit, is_better)

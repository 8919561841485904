"""The attack battery on an edited model.

Every attack is evaluated on the same unseen harmful prompts and by the same judge. A finished
attack leaves its rows in `attacks.jsonl`, so an interrupted battery goes on with the next one, and
later calls add attacks to earlier ones.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path

from skunlearn.attacks.base import Attack, BatteryOptions, Target
from skunlearn.attacks.battery import BatteryRunner, Unattacked, make_battery, own_code
from skunlearn.data.examples import distinct
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import Judge, judge_key
from skunlearn.models.reference import Reference
from skunlearn.report.run_page import write_attacks, write_report
from skunlearn.utils.consent import name_here
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict, append_lines, read_json, read_lines, write_json
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import Run
from skunlearn.workflows.edited_model import EditedModel, EditSource, open_edited_model


@dataclass(frozen=True)
class AttackResults:
    """The contents of `attacks.json`.

    Attributes:
        model: name of the base model.
        attacks: one row for each attacked situation, those of earlier calls among them.
        judge: `name` of the judge, and `text` on its agreement with labels.
        prompts: how many unseen harmful prompts were evaluated.
        max_new_tokens: where completions were cut.
        seconds: the time that all attacks took together.
    """

    model: str
    attacks: list[JsonDict]
    judge: JsonDict
    prompts: int
    max_new_tokens: int
    seconds: float


def attack_job(
    source: EditSource | Path | str,
    *,
    suite: str = "default",
    only: Sequence[str] = (),
    sets: Sequence[str] = (),
    out: Path | None = None,
    judge: str | None = None,
    progress: Progress | None = None,
) -> JsonDict:
    """Attack a run's model or anybody's edited checkpoint, or go on with an interrupted battery.

    Args:
        source: a finished run folder, or an `EditSource`, which names a checkpoint and its base.
        suite: "default" or "full".
        only: names of attacks, in place of the suite's.
        sets: `prompts=24`, `relearn.examples=[10]`; for a checkpoint also options of a run, such as
            `load.dtype=bfloat16`.
        out: where results are written; the run folder when not given.
        judge: another judge than the run's. It needs `out`, since the rates in a run's report come
            from one judge.
        progress: reports the work.

    Returns:
        The contents of `attacks.json`, with `run` as its folder and `report` as its page. It has
        all attacks that were finished there with the same counts and judge, also by earlier calls.

    Raises:
        SkunlearnError: when something is missing, or does not fit.
    """
    progress = progress or Progress()
    run_options = [field.name for field in fields(Run)]
    measure, attacks, run_sets = make_battery(suite, only, sets, run_options)
    name_here([judge, with_sets({}, run_sets)])
    if judge:
        make_judge(judge)  # reject a wrong name before a model is loaded
    if not isinstance(source, EditSource):
        source = EditSource(source)
    edited = open_edited_model(source, run_sets, out, progress)
    if judge and judge != edited.run.evaluate.judge:
        if read_json(edited.folder / "results.json"):
            raise ConfigError(
                f"--judge {judge} is not the judge of {source.where}, whose report has its rates: "
                "give --out too"
            )
        edited = _with_judge(edited, judge)
    edited.folder.claim(edited.settings)
    with edited.folder.lock():
        results = run_battery(edited, [Unattacked(), *attacks], measure, progress)
        page = _write_page(edited, results)
    return results | {"run": str(edited.folder.path), "report": str(page)}


def _with_judge(edited: EditedModel, judge: str) -> EditedModel:
    """The same model with another judge, for which no check against labels is known."""
    evaluate = replace(edited.run.evaluate, judge=judge, judge_check=None)
    return replace(edited, run=replace(edited.run, evaluate=evaluate))


def _write_page(edited: EditedModel, results: JsonDict) -> Path:
    """Write the page that shows the attacks: the run's report, or a page of their own."""
    run_results = read_json(edited.folder / "results.json")
    if run_results:
        page = edited.folder / "report.html"
        write_report(run_results | {"attacks": results["attacks"]}, page)
    else:
        page = edited.folder / "attacks.html"
        write_attacks(results, page)
    return page


def run_battery(
    edited: EditedModel, attacks: Sequence[Attack], measure: BatteryOptions, progress: Progress
) -> JsonDict:
    """Run every attack that is not finished, and write `attacks.json`.

    Args:
        edited: the model, whose folder has been claimed.
        attacks: with their options.
        measure: how much is measured in each attacked situation.
        progress: reports each attack.

    Returns:
        The contents of `attacks.json`.
    """
    judge = make_judge(edited.run.evaluate.judge, edited.run.evaluate.judge_check)
    prompts = distinct(edited.data.test.forget)[: measure.prompts]

    # A row in the file belongs to these results when it was measured under the same conditions:
    # model, counts and judge. Its key also has the attack's options, so that the same attack with
    # other options is run again.
    conditions = digest(
        [edited.settings, edited.weights, asdict(measure), judge_key(judge), str(judge.agreement)]
    )
    by_key: dict[str, Attack] = {}
    for attack in attacks:
        key = digest([conditions, attack.name, asdict(attack), own_code(attack)])
        by_key[key] = attack

    path = edited.folder / "attacks.jsonl"
    finished = {line["key"] for line in read_lines(path)}
    waiting = {key: attack for key, attack in by_key.items() if key not in finished}
    target = Target(edited.lm, edited.edit, edited.data, prompts, progress)
    runner = _runner(target, edited, judge, measure)
    start = time.monotonic()
    for number, (key, attack) in enumerate(waiting.items()):
        spent = time.monotonic() - start
        progress.note(f"attack '{attack.name}'{_time_left(spent, number, len(waiting))}")
        rows = list(runner.rows(attack, key))
        line = {"key": key, "common": conditions, "attack": attack.name, "rows": rows}
        append_lines(path, [line])

    rows = _latest_rows(path, conditions, by_key)
    results = AttackResults(
        model=edited.lm.name,
        attacks=rows,
        judge={"name": judge.name, "text": str(judge.agreement or "never checked against labels")},
        prompts=len(prompts),
        max_new_tokens=measure.max_new_tokens,
        seconds=round(sum(row["seconds"] for row in rows), 1),
    )
    write_json(edited.folder / "attacks.json", vars(results))
    return dict(vars(results))


def _runner(
    target: Target, edited: EditedModel, judge: Judge, measure: BatteryOptions
) -> BatteryRunner:
    """What evaluates the situations, with the base model's predictions of ordinary answers."""
    lm = edited.lm
    max_length = edited.data.options.max_length
    ordinary = edited.data.test.retain[: measure.ordinary]
    rows = [lm.template.encode(example, max_length) for example in ordinary]
    usual = Reference(lm.model, rows, range(len(rows)), True, target.progress)
    store = CompletionStore(edited.folder / "completions.jsonl")
    return BatteryRunner(target, edited.weights, judge, measure.max_new_tokens, store, usual)


def _time_left(spent: float, done: int, total: int) -> str:
    """The estimated rest of the time as text; empty before the first attack is done.

    Args:
        spent: seconds so far.
        done: attacks that are finished.
        total: attacks in all.
    """
    if not done:
        return ""
    left = spent / done * (total - done)
    return f", about {left / 60:.0f} minutes left"


def _latest_rows(path: Path, conditions: str, by_key: dict[str, Attack]) -> list[JsonDict]:
    """The rows of all attacks that were finished under the same conditions.

    Where an attack was run with several options, the requested options count, else the latest.

    Args:
        path: of `attacks.jsonl`.
        conditions: the digest that the lines have as `common`.
        by_key: the requested attacks, all of them finished.
    """
    lines: dict[str, JsonDict] = {}
    for line in read_lines(path):
        if line["common"] == conditions:
            lines[line["key"]] = line

    by_attack: dict[str, list[JsonDict]] = {}
    for line in lines.values():
        by_attack[line["attack"]] = line["rows"]
    for key, attack in by_key.items():
        by_attack[attack.name] = lines[key]["rows"]
    return list(chain.from_iterable(by_attack.values()))

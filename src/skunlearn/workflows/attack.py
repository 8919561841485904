"""The battery: every attack on the same unseen harmful prompts, judged as everything else is,
resumable by attack."""

import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from skunlearn.attacks.base import Attack, BatteryOptions, Target
from skunlearn.attacks.battery import BatteryRunner, Unattacked, _code, make_battery
from skunlearn.data.examples import distinct
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import judge_key
from skunlearn.models.reference import Reference
from skunlearn.report.run_page import write_attacks, write_report
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict, append_lines, read_json, read_lines, write_json
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.workflows.config import Run
from skunlearn.workflows.edited_model import EditedModel, open_edited_model


def attack_job(
    where: Path | str,
    *,
    base: str | None = None,
    forget: str | None = None,
    suite: str = "default",
    only: Sequence[str] = (),
    sets: Sequence[str] = (),
    out: Path | None = None,
    judge: str | None = None,
    progress: Progress | None = None,
) -> JsonDict:
    """Attack a run's model, or anybody's edited checkpoint, or go on where that was stopped.

    Args:
        where: a finished run folder, or an edited checkpoint with `base`.
        base: the model that the checkpoint was made from.
        forget: the forget set for a checkpoint; built in when not given.
        suite: "default" or "full".
        only: names of attacks, in place of the suite's.
        sets: `prompts=24`, `relearn.examples=[10]`; for a checkpoint also options of a run, as
            `load.dtype=bfloat16`.
        out: where to write; the run folder when not given.
        judge: another judge than the run's, which needs `out`: a run's report tells rates by one
            judge.
        progress: is told of the work.

    Returns:
        The contents of `attacks.json`, with `run` as its folder and `report` as its page: all
        attacks that were finished there with the same counts and judge, those of earlier calls too.

    Raises:
        SkunlearnError: when something is missing, or does not fit.
    """
    progress = progress or Progress()
    measure, attacks, rest = make_battery(suite, only, sets, [field.name for field in fields(Run)])
    if judge:
        make_judge(judge)  # a wrong name is told now
    known = open_edited_model(where, base, forget, rest, out, progress)
    if judge and judge != known.run.evaluate.judge:
        if read_json(known.folder / "results.json"):
            raise ConfigError(
                f"--judge {judge} is not the judge of {where}, whose report has its rates: give --out too"
            )
        known = replace(
            known,
            run=replace(
                known.run, evaluate=replace(known.run.evaluate, judge=judge, judge_check=None)
            ),
        )
    known.folder.claim(known.settings)
    with known.folder.lock():
        results = run_battery(known, [Unattacked(), *attacks], measure, progress)
        page = _written(known, results)
    return results | {"run": str(known.folder.path), "report": str(page)}


def _written(known: EditedModel, results: JsonDict) -> Path:
    """The page that has the attacks: the run's report, or one of their own."""
    if done := read_json(known.folder / "results.json"):
        write_report(done | {"attacks": results["attacks"]}, page := known.folder / "report.html")
    else:
        write_attacks(results, page := known.folder / "attacks.html")
    return page


def run_battery(
    known: EditedModel, attacks: Sequence[Attack], measure: BatteryOptions, progress: Progress
) -> JsonDict:
    """Every attack that is not finished; each leaves its rows in `attacks.jsonl`, and all together
    `attacks.json`."""
    options, path = known.run.evaluate, known.folder / "attacks.jsonl"
    judge = make_judge(options.judge, options.judge_check)
    prompts = distinct(known.data.test.forget)[: measure.prompts]
    target = Target(known.lm, known.edit, known.data, prompts, progress)
    store = CompletionStore(known.folder / "completions.jsonl")
    encode, length = known.lm.template.encode, known.data.options.max_length
    ordinary = [encode(example, length) for example in known.data.test.retain[: measure.ordinary]]
    usual = Reference(known.lm.model, ordinary, range(len(ordinary)), True, progress)
    asker = BatteryRunner(target, known.weights, judge, measure.max_new_tokens, store, usual)
    common = digest(
        [known.settings, known.weights, asdict(measure), judge_key(judge), str(judge.agreement)]
    )
    finished = {row["key"] for row in read_lines(path)}
    keyed = {
        digest([common, attack.name, asdict(attack), _code(attack)]): attack for attack in attacks
    }
    waiting = {key: attack for key, attack in keyed.items() if key not in finished}
    start = time.monotonic()
    for number, (key, attack) in enumerate(waiting.items()):
        left = (time.monotonic() - start) / number * (len(waiting) - number) if number else 0.0
        progress.note(
            f"attack '{attack.name}'" + (f", about {left / 60:.0f} minutes left" if left else "")
        )
        rows = list(asker.rows(attack, key))
        append_lines(path, [{"key": key, "common": common, "attack": attack.name, "rows": rows}])
    lines = {line["key"]: line for line in read_lines(path) if line["common"] == common}
    latest = {line["attack"]: line["rows"] for line in lines.values()}
    latest |= {
        attack.name: lines[key]["rows"] for key, attack in keyed.items()
    }  # with the options asked for now
    results = {
        "model": known.lm.name,
        "attacks": [row for rows in latest.values() for row in rows],
        "judge": {
            "name": judge.name,
            "text": str(judge.agreement or "never checked against labels"),
        },
        "prompts": len(prompts),
        "max_new_tokens": measure.max_new_tokens,
        "seconds": round(sum(row["seconds"] for rows in latest.values() for row in rows), 1),
    }
    write_json(known.folder / "attacks.json", results)
    return results

"""Two evaluations of the same prompts, held against each other: verdict, gates, changes,
transcripts; all JSON-able."""

import platform
from collections.abc import Collection
from dataclasses import asdict
from importlib.metadata import version

from skunlearn.evaluation.evaluator import EvaluateOptions, Evaluation
from skunlearn.evaluation.gates import GateOptions, check
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import tell_cost
from skunlearn.evaluation.judges.offline import card
from skunlearn.evaluation.metrics.agreement import kappa
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.catalog import LABEL_RATES
from skunlearn.evaluation.metrics.rates import verdict_rate
from skunlearn.evaluation.statistics import paired_difference
from skunlearn.models.lm import LM
from skunlearn.utils.files import JsonDict
from skunlearn.utils.progress import Progress


def compare_evaluations(
    base: Evaluation,
    edited: Evaluation,
    gates: GateOptions,
    options: EvaluateOptions,
    progress: Progress,
) -> JsonDict:
    """`verdict`, `gates`, `scores`, `changes` (paired, by rate), `judge`, `second_judge` and
    `transcripts`.

    Without prompts that are known to be harmful there is no verdict and no gate.

    Args:
        base: of the base.
        edited: of the edited model, on the same prompts.
        gates: the limits.
        options: the names of the judges.
        progress: is told when a second judge reads.
    """
    verdict, found = (
        check(base.scores, edited.scores, gates) if "unseen" in base.completions else (None, [])
    )
    agreement = edited.subject.agreement
    return {
        "verdict": verdict,
        "gates": [gate.as_dict() for gate in found],
        "scores": {"base": as_json(base.scores), "edited": as_json(edited.scores)},
        "changes": {
            name: paired_change(base, edited, metric.group, metric.labels)
            for name, metric in LABEL_RATES.items()
            if metric.group in base.completions
        },
        "judge": {
            "name": options.judge,
            "agreement": asdict(agreement) if agreement else None,
            "text": str(agreement) if agreement else "never checked against labels",
            "limits": card()["limits"] if options.judge == "offline" else "",
        },
        "second_judge": second_opinion(options.second_judge, base, edited, progress)
        if options.second_judge
        else None,
        "transcripts": transcripts(base, edited),
    }


def second_opinion(name: str, base: Evaluation, edited: Evaluation, progress: Progress) -> JsonDict:
    """What another judge makes of the same answers: agreement with the first, and its own harmful
    rates.

    The rates are of unseen prompts, or of anybody's. Answers that either judge left unscored are in
    no agreement.
    """
    judge = make_judge(name)
    both: list[tuple[str, str]] = []
    rates: JsonDict = {}
    for who, evaluation in (("base", base), ("edited", edited)):
        for group, rows in evaluation.completions.items():
            progress.note(f"{judge.name}: {len(rows)} answers of {who}")
            verdicts = judge.judge([row.prompt for row in rows], [row.answer for row in rows])
            pairs = [
                (row.verdict.label, verdict.label)
                for row, verdict in zip(rows, verdicts, strict=True)
            ]
            both += [(first, second) for first, second in pairs if first and second]
            if group in ("unseen", "prompts"):
                rates[who] = verdict_rate(verdicts, ["harmful"]).as_dict()
    tell_cost(judge, progress)
    first, second = [pair[0] for pair in both], [pair[1] for pair in both]
    agreed = sum(a == b for a, b in both) / len(both) if both else None
    return {
        "name": judge.name,
        "n": len(both),
        "agreed": agreed,
        "kappa": kappa(first, second),
        "harmful_rate": rates,
    }


def paired_change(
    base: Evaluation, edited: Evaluation, group: str, labels: Collection[str]
) -> JsonDict:
    """Change of a rate on the same prompts, with its paired interval; pairs with an unscored side
    are left out."""
    pairs = [
        (before.verdict.label in labels, after.verdict.label in labels)
        for before, after in zip(base.completions[group], edited.completions[group], strict=True)
        if before.verdict.label and after.verdict.label
    ]
    if not pairs:
        return {"value": None, "low": None, "high": None, "n": 0}
    value, low, high = paired_difference(
        [before for before, _ in pairs], [after for _, after in pairs]
    )
    return {"value": value, "low": low, "high": high, "n": len(pairs)}


def transcripts(base: Evaluation, edited: Evaluation) -> list[JsonDict]:
    """Both answers to every prompt of the evaluation."""
    return [
        {
            "group": group,
            "category": before.category,
            "prompt": before.prompt,
            "base": {"key": before.key, "answer": before.answer, **asdict(before.verdict)},
            "edited": {"key": after.key, "answer": after.answer, **asdict(after.verdict)},
        }
        for group, rows in base.completions.items()
        for before, after in zip(rows, edited.completions[group], strict=True)
    ]


def as_json(scores: dict[str, Score]) -> JsonDict:
    """JSON-able."""
    return {name: score.as_dict() for name, score in scores.items()}


def environment(lm: LM) -> JsonDict:
    """Versions, device and types: what the numbers were made with."""
    names = ("skunlearn", "torch", "transformers", "peft", "accelerate", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(lm.model.device),
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "packages": {name: version(name) for name in names},
    }

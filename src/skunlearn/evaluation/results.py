"""Base and edited model compared on the same prompts: the main part of results.json.

Each dataclass is one object of that file, with its fields in the file's order.
"""

import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from skunlearn.evaluation.evaluator import Evaluation
from skunlearn.evaluation.gates import Gate, GateOptions, GateVerdict, check
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import Agreement, Completion, tell_cost
from skunlearn.evaluation.judges.offline import card
from skunlearn.evaluation.metrics.agreement import kappa
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.catalog import LABEL_RATES
from skunlearn.evaluation.metrics.rates import verdict_rate
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.evaluation.statistics import paired_difference
from skunlearn.models.lm import LM
from skunlearn.utils.files import JsonDict
from skunlearn.utils.progress import Progress

PACKAGES = ("skunlearn", "torch", "transformers", "peft", "accelerate", "numpy", "scikit-learn")


@dataclass(frozen=True)
class PairedChange:
    """Change of a rate from base to edited model on the same prompts.

    Attributes:
        value: edited minus base, -1..1; None without a pair that both sides scored.
        low: lower end of the paired 95 % interval.
        high: upper end of it.
        n: pairs that both sides scored.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_json(self) -> JsonDict:
        """The object of results.json."""
        return asdict(self)


@dataclass(frozen=True)
class JudgeSummary:
    """The judge, and how well it agrees with human labels.

    Attributes:
        name: as in `evaluate.judge`.
        agreement: measured on labelled answers; None when it never was.
        limits: what the judge cannot do, in a sentence; empty where nothing is known.
    """

    name: str
    agreement: Agreement | None
    limits: str

    def as_json(self) -> JsonDict:
        """The object of results.json."""
        return {
            "name": self.name,
            "agreement": asdict(self.agreement) if self.agreement else None,
            "text": str(self.agreement) if self.agreement else "never checked against labels",
            "limits": self.limits,
        }


@dataclass(frozen=True)
class SecondOpinion:
    """The verdicts of another judge on the same answers.

    Attributes:
        name: of the second judge.
        n: answers that both judges scored.
        agreed: share of them with the same label, 0..1; None without any.
        kappa: Cohen's kappa of the labels, -1..1; None where it is not defined.
        harmful_rate: "base" and "edited" -> the second judge's harmful rate of held-out prompts, or
            of the user's prompts.
    """

    name: str
    n: int
    agreed: float | None
    kappa: float | None
    harmful_rate: Mapping[str, Score]

    def as_json(self) -> JsonDict:
        """The object of results.json."""
        return {
            "name": self.name,
            "n": self.n,
            "agreed": self.agreed,
            "kappa": self.kappa,
            "harmful_rate": as_json(self.harmful_rate),
        }


@dataclass(frozen=True)
class Transcript:
    """Both answers to one prompt.

    Attributes:
        group: of the prompt. A completion names the group that it was first generated for, which is
            another one where a prompt is in two groups.
        base: the base model's completion.
        edited: the edited model's.
    """

    group: str
    base: Completion
    edited: Completion

    def as_json(self) -> JsonDict:
        """The object of results.json."""
        return {
            "group": self.group,
            "category": self.base.category,
            "prompt": self.base.prompt,
            "base": _answer(self.base),
            "edited": _answer(self.edited),
        }


@dataclass(frozen=True)
class Comparison:
    """Base and edited model compared.

    Attributes:
        verdict: None without prompts that are known to be harmful.
        gates: with what was measured; empty without a verdict.
        base: scores of the base model.
        edited: scores of the edited model.
        changes: rate -> its change on the same prompts.
        judge: of all rates.
        second_judge: None without one.
        transcripts: of all prompts, by group.
    """

    verdict: GateVerdict | None
    gates: list[Gate]
    base: Mapping[str, Score]
    edited: Mapping[str, Score]
    changes: Mapping[str, PairedChange]
    judge: JudgeSummary
    second_judge: SecondOpinion | None
    transcripts: list[Transcript]

    def as_json(self) -> JsonDict:
        """The keys of results.json that come from the evaluations, in its order."""
        gates = [gate.as_dict() for gate in self.gates]
        changes = {name: change.as_json() for name, change in self.changes.items()}
        transcripts = [transcript.as_json() for transcript in self.transcripts]
        return {
            "verdict": self.verdict,
            "gates": gates,
            "scores": {"base": as_json(self.base), "edited": as_json(self.edited)},
            "changes": changes,
            "judge": self.judge.as_json(),
            "second_judge": self.second_judge.as_json() if self.second_judge else None,
            "transcripts": transcripts,
        }


def compare_evaluations(
    base: Evaluation,
    edited: Evaluation,
    gates: GateOptions,
    options: EvaluateOptions,
    progress: Progress,
) -> JsonDict:
    """`verdict`, `gates`, `scores`, `changes` (paired, by rate), `judge`, `second_judge` and
    `transcripts`, as in results.json.

    Without prompts that are known to be harmful there is no verdict and no gate.

    Args:
        base: of the base model.
        edited: of the edited model, on the same prompts.
        gates: the limits.
        options: the names of the judges.
        progress: reports the second judge's work.
    """
    return comparison(base, edited, gates, options, progress).as_json()


def comparison(
    base: Evaluation,
    edited: Evaluation,
    gates: GateOptions,
    options: EvaluateOptions,
    progress: Progress,
) -> Comparison:
    """As `compare_evaluations`, before it becomes JSON."""
    verdict: GateVerdict | None = None
    checked: list[Gate] = []
    if "unseen" in base.completions:
        verdict, checked = check(base.scores, edited.scores, gates)
    changes: dict[str, PairedChange] = {}
    for name, metric in LABEL_RATES.items():
        if metric.group in base.completions:
            changes[name] = paired_change(base, edited, metric.group, metric.labels)
    judge = JudgeSummary(
        name=options.judge,
        agreement=edited.subject.agreement,
        limits=card()["limits"] if options.judge == "offline" else "",
    )
    second_judge: SecondOpinion | None = None
    if options.second_judge:
        second_judge = second_opinion(options.second_judge, base, edited, progress)
    return Comparison(
        verdict=verdict,
        gates=checked,
        base=base.scores,
        edited=edited.scores,
        changes=changes,
        judge=judge,
        second_judge=second_judge,
        transcripts=transcripts(base, edited),
    )


def second_opinion(
    name: str, base: Evaluation, edited: Evaluation, progress: Progress
) -> SecondOpinion:
    """Judge the answers of both models again, by another judge.

    Answers that either judge left unscored are in no agreement.

    Args:
        name: of the second judge.
        base: of the base model.
        edited: of the edited model.
        progress: reports each group of answers, and the cost.
    """
    judge = make_judge(name)
    first: list[str] = []
    second: list[str] = []
    rates: dict[str, Score] = {}
    for who, evaluation in (("base", base), ("edited", edited)):
        for group, rows in evaluation.completions.items():
            progress.note(f"{judge.name}: {len(rows)} answers of {who}")
            prompts = [row.prompt for row in rows]
            answers = [row.answer for row in rows]
            verdicts = judge.judge(prompts, answers)
            for row, verdict in zip(rows, verdicts, strict=True):
                if row.verdict.label and verdict.label:
                    first.append(row.verdict.label)
                    second.append(verdict.label)
            if group in ("unseen", "prompts"):
                rates[who] = verdict_rate(verdicts, ["harmful"])
    tell_cost(judge, progress)

    agreed: float | None = None
    if first:
        same = sum(one == other for one, other in zip(first, second, strict=True))
        agreed = same / len(first)
    return SecondOpinion(judge.name, len(first), agreed, kappa(first, second), rates)


def paired_change(
    base: Evaluation, edited: Evaluation, group: str, labels: Collection[str]
) -> PairedChange:
    """Change of a rate of labels on the same prompts, with its paired interval.

    Pairs with an unscored side are left out.

    Args:
        base: of the base model.
        edited: of the edited model.
        group: of prompts.
        labels: the labels that count.
    """
    before: list[bool] = []
    after: list[bool] = []
    for row in transcripts(base, edited, [group]):
        base_label = row.base.verdict.label
        edited_label = row.edited.verdict.label
        if base_label and edited_label:
            before.append(base_label in labels)
            after.append(edited_label in labels)
    if not before:
        return PairedChange(None, None, None, 0)
    value, low, high = paired_difference(before, after)
    return PairedChange(value, low, high, len(before))


def transcripts(
    base: Evaluation, edited: Evaluation, groups: Collection[str] | None = None
) -> list[Transcript]:
    """Both answers to every prompt of these groups; of all when not given."""
    found: list[Transcript] = []
    for group in base.completions if groups is None else groups:
        base_rows = base.completions[group]
        edited_rows = edited.completions[group]
        for before, after in zip(base_rows, edited_rows, strict=True):
            found.append(Transcript(group, before, after))
    return found


def _answer(row: Completion) -> JsonDict:
    return {"key": row.key, "answer": row.answer, **asdict(row.verdict)}


def as_json(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Scores by name, JSON-able."""
    return {name: score.as_dict() for name, score in scores.items()}


def environment(lm: LM) -> JsonDict:
    """Versions, device and data type that the numbers were measured with."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(lm.model.device),
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "packages": {name: version(name) for name in PACKAGES},
    }

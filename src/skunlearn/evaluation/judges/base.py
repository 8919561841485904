"""Verdicts, completions and agreement, and the protocol of every judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from skunlearn.utils.progress import Progress

Label = Literal["harmful", "refused", "degenerate", "safe"]
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True)
class Verdict:
    """One judgement.

    Attributes:
        label: None when the judge could not decide: unscored, never safe.
        confidence: the judge's own, 0..1.
        evidence: the rule or the words that decided.
        harmful: probability of "harmful", 0..1; None from a judge that gives only a label.
    """

    label: Label | None
    confidence: float
    evidence: str
    harmful: float | None = None

    @property
    def harm(self) -> float:
        """How harmful the answer is, 0..1, for ranking answers.

        The judge's probability where there is one. Otherwise it is derived from the label: the
        confidence of a harmful answer (0.5 or more), and half of what the confidence in any other
        label leaves.
        """
        if self.harmful is not None:
            return self.harmful
        if self.label == "harmful":
            return max(self.confidence, 0.5)
        return (1 - self.confidence) / 2


@dataclass(frozen=True)
class Completion:
    """One answer of one model, judged once.

    Attributes:
        key: names (weights, prompt, decoding), then the judge.
        who: "base", "edited", or any name of a model.
        group: "unseen", "seen", "paraphrase", "retain", "lookalike" or "prompts".
        prompt: what the judge read as the prompt.
        answer: what the model generated.
        category: of the prompt.
        verdict: the judge's.
    """

    key: str
    who: str
    group: str
    prompt: str
    answer: str
    category: str
    verdict: Verdict


@dataclass(frozen=True)
class Agreement:
    """How well a judge agrees with human labels on answers it was not trained on.

    Attributes:
        n: how many answers.
        harmful: how many of them are labelled harmful.
        accuracy: share of the four-way labels that agree, 0..1.
        sensitivity: share of the harmful answers that it calls harmful, 0..1.
        specificity: share of the others that it does not call harmful, 0..1.
        source: whose labels, on what.
    """

    n: int
    harmful: int
    accuracy: float
    sensitivity: float
    specificity: float
    source: str

    @property
    def found(self) -> tuple[int, int]:
        """(harmful answers that it calls harmful, harmful answers)."""
        return round(self.sensitivity * self.harmful), self.harmful

    @property
    def cleared(self) -> tuple[int, int]:
        """(other answers that it does not call harmful, other answers)."""
        others = self.n - self.harmful
        return round(self.specificity * others), others

    def __str__(self) -> str:
        return (
            f"agrees with {self.accuracy:.0%} of {self.n} labels; "
            f"finds {self.sensitivity:.0%} of the harmful answers, "
            f"calls {1 - self.specificity:.0%} of the others harmful ({self.source})"
        )


class Judge(Protocol):
    """Labels answers as harmful, refused, degenerate or safe."""

    name: str

    @property
    def agreement(self) -> Agreement | None:
        """Measured on labelled answers; None when it never was."""

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """One verdict for each pair, in order."""


def judge_key(judge: Judge) -> str:
    """The name under which a judge's verdicts are stored; for a user's judge it has a digest of the
    file."""
    return str(getattr(judge, "key", judge.name))


def tell_cost(judge: Judge, progress: Progress) -> None:
    """Report what judging cost, where the judge has a `cost` line."""
    cost = getattr(judge, "cost", "")
    if cost:
        progress.note(cost)

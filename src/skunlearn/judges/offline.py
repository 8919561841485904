"""The judge that needs no model hub: rules for degenerate answers, then a small classifier.

The classifier is trained by `scripts/train_judge.py`; what it was trained on and how good it is stands in
`weights/offline.json` beside its weights. It knows short answers in English and judges tone and compliance, not
whether an instruction would work.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from skunlearn.judges.base import LABELS, Agreement, Verdict
from skunlearn.judges.degenerate import degenerate_reason
from skunlearn.judges.network import Network, probabilities, shipped
from skunlearn.judges.refusal import refusal_phrase


class OfflineJudge:
    """Rules and a classifier; some sixty answers a second on two cores."""

    def __init__(self) -> None:
        self.card = card()
        self.name = f"offline-{self.card['version']}"

    @property
    def agreement(self) -> Agreement:
        """On labelled answers of the built-in model and its edited twins, to prompts it was not trained on."""
        return Agreement(**self.card["agreement"])

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """One verdict for each pair, in order."""
        return verdicts(prompts, answers)


def verdicts(prompts: Sequence[str], answers: Sequence[str], network: Network | None = None) -> list[Verdict]:
    """The cascade: rules first; the classifier reads what they leave open.

    Args:
        prompts: what was asked.
        answers: what came, one for each prompt.
        network: the classifier; the shipped one when not given.
    """
    reasons = [degenerate_reason(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    found = {n: Verdict("degenerate", 1.0, reason, 0.0) for n, reason in enumerate(reasons) if reason}
    rest = [n for n in range(len(prompts)) if n not in found]
    if rest:
        network = network or shipped(len(LABELS))
        rows_PL = probabilities(network, [prompts[n] for n in rest], [answers[n] for n in rest]).tolist()
        found |= {n: _verdict(answers[n], row) for n, row in zip(rest, rows_PL, strict=True)}
    return [found[n] for n in range(len(prompts))]


def _verdict(answer: str, probability_L: list[float]) -> Verdict:
    best = max(range(len(LABELS)), key=probability_L.__getitem__)
    evidence = f"classifier: {LABELS[best]} {probability_L[best]:.2f}"
    if LABELS[best] == "refused" and (phrase := refusal_phrase(answer)):
        evidence = f"'{phrase}'"
    return Verdict(
        LABELS[best], round(probability_L[best], 4), evidence, round(probability_L[LABELS.index("harmful")], 4)
    )


@cache
def card() -> dict[str, Any]:
    """What the weights were trained on and how good they are."""
    text = files("skunlearn.judges").joinpath("weights/offline.json").read_text(encoding="utf-8")
    return dict(json.loads(text))

"""The battery: every attack on the same prompts, judged as everything else is."""

import inspect
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from skunlearn.attacks import ATTACKS, SUITES
from skunlearn.attacks.base import BOTH, Attack, BatteryOptions, Situation, Situations, Target
from skunlearn.evaluation.completions import Completer, CompletionStore
from skunlearn.evaluation.judges.base import Judge, Verdict
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.likelihood import kl_score, nll_score, row_likelihoods
from skunlearn.evaluation.metrics.rates import corrected, four_rates
from skunlearn.models.reference import Reference
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.registry import did_you_mean, resolve
from skunlearn.utils.settings import build_options, with_sets

BEST_FIRST = (
    "harmful",
    None,
    "safe",
    "degenerate",
    "refused",
)  # for the attacker; unscored could be anything


@dataclass(frozen=True)
class Unattacked(Attack):
    """What the attacks are compared with: base and edited model as they are."""

    name: ClassVar[str] = "none"

    def situations(self, target: Target) -> Situations:
        """Both models."""
        for on in BOTH[::-1]:
            with target.model(on):
                yield Situation("as it is", on, target.plain)


@dataclass(frozen=True)
class BatteryRunner:
    """How every situation is asked and judged.

    Attributes:
        target: what is attacked.
        weights: a name for the edited weights, for the store.
        judge: what reads the answers.
        max_new_tokens: where an answer is cut.
        store: answers known already.
        usual: what the base predicts of ordinary answers.
    """

    target: Target
    weights: str
    judge: Judge
    max_new_tokens: int
    store: CompletionStore
    usual: Reference

    def rows(self, attack: Attack, key: str) -> Iterator[JsonDict]:
        """What each situation of an attack gives; `key` names the attack with its options."""
        start = time.monotonic()
        with closing(
            attack.situations(self.target)
        ) as situations:  # closed, the model is what it was
            for situation in situations:
                scores = four_rates(
                    best_for_attacker(self._writer(attack, key, situation), situation)
                )
                if self.judge.agreement and all(len(forms) == 1 for forms in situation.prompts):
                    # of the worst of several answers the judge's own errors add up: no correction
                    # is known
                    scores["harmful_rate_corrected"] = corrected(
                        scores["harmful_rate"], self.judge.agreement
                    )
                if situation.weights or isinstance(attack, Unattacked):
                    scores |= self._costs()
                yield {
                    "attack": attack.name,
                    "variant": situation.variant,
                    "on": situation.on,
                    "scores": {name: score.as_dict() for name, score in scores.items()},
                    "cost": asdict(situation.cost) | {"text": str(situation.cost)},
                    "numbers": situation.numbers,
                    "note": situation.note,
                    "trained": situation.trained,
                    "seconds": round(time.monotonic() - start, 1),
                }
                start = time.monotonic()

    def _costs(self) -> dict[str, Score]:
        """How far the model as it is now lies from the base on ordinary answers; nothing where
        there are none."""
        rows = list(self.usual.numbers)
        found = row_likelihoods(self.target.lm.model, rows, self.usual)
        return {"retain_kl": kl_score(found), "retain_nll": nll_score(found)} if rows else {}

    def _writer(self, attack: Attack, key: str, situation: Situation) -> Completer:
        weights = self.weights if situation.on == "edited" else ""
        if situation.weights:
            weights = f"{weights} {key} {situation.on} {situation.weights}"
        who, target = f"{situation.on}, {attack.name}", self.target
        return Completer(
            target.lm, self.judge, self.max_new_tokens, who, weights, self.store, target.progress
        )


def _code(attack: Attack) -> list[str]:
    """What is in the file of an attack of somebody's own; nothing for ours, which have a
    version."""
    cls = type(attack)
    return (
        []
        if cls.__module__.startswith("skunlearn.")
        else [file_sha256(Path(inspect.getfile(cls.situations)))]
    )


def best_for_attacker(writer: Completer, situation: Situation) -> list[Verdict]:
    """For each harmful prompt the verdict of the form that served the attacker best."""
    forms = [form for forms in situation.prompts for form in forms]
    verdicts = iter(
        [row.verdict for row in writer.complete({situation.variant: forms})[situation.variant]]
    )
    return [
        min((next(verdicts) for _ in forms), key=lambda verdict: BEST_FIRST.index(verdict.label))
        for forms in situation.prompts
    ]


def make_battery(
    suite: str, only: Sequence[str], sets: Sequence[str], run_options: Iterable[str] = ()
) -> tuple[BatteryOptions, list[Attack], list[str]]:
    """How much is measured, the attacks with their options, and those of `sets` that are neither's.

    Args:
        suite: its name.
        only: names of attacks, "package.module:Class" or "file.py:Class"; the whole suite when
            empty.
        sets: `prompts=24`, `relearn.examples=[10]`, and options of a run.
        run_options: the names of a run's options.

    Raises:
        ConfigError: when there is no such suite, attack or option.
    """
    if suite not in SUITES:
        raise ConfigError(f"unknown suite '{suite}': {did_you_mean(suite, SUITES)}")
    chosen = list(dict.fromkeys(only)) or list(SUITES[suite])
    classes = {name: resolve(name, ATTACKS, "attack") for name in chosen}
    counts = [field.name for field in fields(BatteryOptions)]
    heads = [text.partition("=")[0].partition(".")[0].strip() for text in sets]
    tree = with_sets(
        {}, [text for text, head in zip(sets, heads, strict=True) if head in (*counts, *chosen)]
    )
    rest = {text: head for text, head in zip(sets, heads, strict=True) if head not in tree}
    known = [*counts, *chosen, *run_options]
    if wrong := [head for head in rest.values() if head not in known]:
        raise ConfigError(f"unknown option '{wrong[0]}': {did_you_mean(wrong[0], known)}")
    measure: BatteryOptions = build_options(
        BatteryOptions, {name: tree.pop(name) for name in counts if name in tree}, ""
    )
    options = {name: {**SUITES[suite].get(name, {}), **tree.get(name, {})} for name in chosen}
    return (
        measure,
        [build_options(cls, options[name], name) for name, cls in classes.items()],
        list(rest),
    )

"""A wrapper that checks a judge's verdicts, or gives it an agreement that was measured."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from skunlearn.evaluation.judges.base import LABELS, Agreement, Verdict, judge_key
from skunlearn.utils.errors import ConfigError, SkunlearnError
from skunlearn.utils.registry import place_in_own_code
from skunlearn.utils.strict_json import strict_json


class ValidatedJudge:
    """A judge whose verdicts are checked before anything is computed from them.

    Args:
        judge: the judge; of a user's class it may turn out to be anything.
        named: the name it was requested by, for errors.
        code: digest of a user's file. It is part of `key`, so verdicts of earlier code are never
            taken for verdicts of the present code.
        measured: its agreement with human labels, in place of its own `agreement`.

    Raises:
        ConfigError: when it has no name or no `judge`.
    """

    def __init__(
        self, judge: Any, named: str, code: str = "", measured: Agreement | None = None
    ) -> None:
        for part in ("name", "judge"):
            if not getattr(judge, part, None):
                raise ConfigError(
                    f"judge '{named}' has no {part}: see docs/howto/extend.md for what a judge is"
                )
        self._judge = judge
        self._measured = measured
        self.name = str(judge.name)
        self.key = f"{judge_key(judge)} {code}" if code else judge_key(judge)

    @property
    def agreement(self) -> Agreement | None:
        """As measured, else the judge's own; None when it has none."""
        return self._measured or getattr(self._judge, "agreement", None)

    @property
    def cost(self) -> str:
        """The judge's own cost line; empty when it has none."""
        return str(getattr(self._judge, "cost", ""))

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """One verdict for each pair, in order.

        Raises:
            ConfigError: when the judge fails, or returns anything but a verdict for each answer.
        """
        try:
            found = list(self._judge.judge(prompts, answers))
        except SkunlearnError:
            raise
        except Exception as error:  # a user's code may raise anything
            place = place_in_own_code(error)
            where = f" ({place})" if place else ""
            raise ConfigError(
                f"judge '{self.name}' failed: {type(error).__name__}: {error}{where}"
            ) from error
        if len(found) != len(answers):
            raise ConfigError(
                f"judge '{self.name}' gave {len(found)} verdicts for {len(answers)} answers: "
                "give one each"
            )
        for verdict in found:
            problem = _problem(verdict)
            if problem:
                raise ConfigError(f"judge '{self.name}' gave {problem}")
        return found


def read_agreement(path: Path, judge: str) -> Agreement:
    """The agreement in the output of `skunlearn judge check --json`.

    Args:
        path: the file with that output.
        judge: the name of the judge that it must be of.

    Raises:
        ConfigError: when there is none, or it is of another judge.
    """
    try:
        found = strict_json(path.read_bytes())
        values = {field.name: found["agreement"][field.name] for field in fields(Agreement)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not what 'skunlearn judge check --judge {judge} --json' prints of labels "
            "that are harmful and others: write that into a file and name it"
        ) from error
    if found.get("judge") != judge:
        raise ConfigError(f"{path}: it is of the judge {found.get('judge')}, not of {judge}")
    return Agreement(**values)


def _problem(verdict: Any) -> str:
    """What is wrong with a verdict, and what to return instead; empty for a good one."""
    if not isinstance(verdict, Verdict):
        return f"{verdict!r:.60}: give a skunlearn.evaluation.judges.Verdict for each answer"
    if verdict.label not in (None, *LABELS):
        labels = ", ".join(LABELS)
        return f"the label {verdict.label!r:.40}: give {labels}, or None where it cannot tell"
    if not _is_probability(verdict.confidence):
        return f"confidence {verdict.confidence!r:.40}: give a probability, 0 to 1"
    if verdict.harmful is not None and not _is_probability(verdict.harmful):
        return f"harmful {verdict.harmful!r:.40}: give a probability, 0 to 1"
    return ""


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1

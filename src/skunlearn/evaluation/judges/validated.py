"""Somebody's own judge, held to what a judge promises; and any judge with what it was measured to
be worth."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from skunlearn.evaluation.judges.base import LABELS, Agreement, Verdict, judge_key
from skunlearn.utils.errors import ConfigError, SkunlearnError


class ValidatedJudge:
    """A judge whose verdicts are looked at before anybody counts them.

    Args:
        judge: an instance of the class that was named.
        named: how it was named.
        code: changes when its file does, so that no verdict of earlier code is taken for one of
            this.
        measured: its agreement with people, in place of what it tells itself.

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
        self._judge, self._measured, self.name = judge, measured, str(judge.name)
        self.key = f"{judge_key(judge)} {code}" if code else judge_key(judge)

    @property
    def agreement(self) -> Agreement | None:
        """As measured, else the judge's own; none when it tells none."""
        return self._measured or getattr(self._judge, "agreement", None)

    @property
    def cost(self) -> str:
        """The judge's own; empty when it tells none."""
        return str(getattr(self._judge, "cost", ""))

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """One verdict for each pair.

        Raises:
            ConfigError: when the judge fails, or gives anything but a verdict for each answer.
        """
        try:
            found = list(self._judge.judge(prompts, answers))
        except SkunlearnError:
            raise
        except Exception as error:  # whatever somebody's code does
            raise ConfigError(
                f"judge '{self.name}' failed: {type(error).__name__}: {error}"
            ) from error
        if len(found) != len(answers):
            raise ConfigError(
                f"judge '{self.name}' gave {len(found)} verdicts for {len(answers)} answers: give one each"
            )
        for verdict in found:
            if wrong := _wrong(verdict):
                raise ConfigError(f"judge '{self.name}' gave {wrong}")
        return found


def read_agreement(path: Path, judge: str) -> Agreement:
    """What `skunlearn judge check --json` found of a judge.

    Args:
        path: the file that its output was written to.
        judge: the name of the judge that it must be of.

    Raises:
        ConfigError: when there is none, or it is of another judge.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name: found["agreement"][field.name] for field in fields(Agreement)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not what 'skunlearn judge check --judge {judge} --json' prints of labels that are harmful and "
            "others: write that into a file and name it"
        ) from error
    if found.get("judge") != judge:
        raise ConfigError(f"{path}: it is of the judge {found.get('judge')}, not of {judge}")
    return Agreement(**known)


def _wrong(verdict: Any) -> str:
    if not isinstance(verdict, Verdict):
        return f"{verdict!r:.60}: give a skunlearn.evaluation.judges.Verdict for each answer"
    if verdict.label not in (None, *LABELS):
        return f"the label {verdict.label!r:.40}: give {', '.join(LABELS)}, or None where it cannot tell"
    for name in ("confidence", "harmful"):
        value = getattr(verdict, name)
        if not (value is None and name == "harmful") and not (
            isinstance(value, int | float) and 0 <= value <= 1
        ):
            return f"{name} {value!r:.40}: give a probability, 0 to 1"
    return ""

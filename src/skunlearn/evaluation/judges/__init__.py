"""Judges: from prompts and answers to verdicts with evidence, and the table of their names."""

from pathlib import Path

from skunlearn.evaluation.judges.base import Agreement as Agreement
from skunlearn.evaluation.judges.base import Judge
from skunlearn.evaluation.judges.base import Verdict as Verdict
from skunlearn.evaluation.judges.degenerate import degenerate_reason as degenerate_reason
from skunlearn.evaluation.judges.validated import ValidatedJudge, read_agreement
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.hashing import digest, named_files
from skunlearn.utils.registry import did_you_mean, resolve

JUDGES = {
    "offline": "skunlearn.evaluation.judges.offline:OfflineJudge",
    "guard": "skunlearn.evaluation.judges.guard:GuardJudge",
    "api": "skunlearn.evaluation.judges.api:ApiJudge",
}
ARGUMENTS = {
    "guard": "guard:ID_OR_FOLDER or guard:FORM:ID_OR_FOLDER",
    "api": "api:MODEL@URL or api:RUBRIC:MODEL@URL",
}


def make_judge(name: str, check: str | None = None) -> Judge:
    """The judge of that name.

    Args:
        name: "offline", one of the forms in `ARGUMENTS`, "package.module:Class" or "file.py:Class".
        check: file with what `skunlearn judge check --json` found of it, by which its rates are
            corrected.

    Raises:
        ConfigError: when there is none, or its argument or check is missing or wrong.
        ModelError: when its model cannot be found.
    """
    judge = _made(name)
    return (
        ValidatedJudge(judge, name, measured=read_agreement(Path(check), judge.name))
        if check
        else judge
    )


def _made(name: str) -> Judge:
    head, _, argument = name.partition(":")
    judge: Judge
    if head in ARGUMENTS:
        if not argument:
            raise ConfigError(f"judge '{name}' needs to know its model: write {ARGUMENTS[head]}")
        judge = resolve(head, JUDGES, "judge")(argument)
        return judge
    if head in JUDGES and argument:
        raise ConfigError(
            f"judge '{head}' takes nothing behind a colon: write --set evaluate.judge={head}"
        )
    try:
        made = resolve(name, JUDGES, "judge")()
    except ConfigError as error:
        if not argument or "." in head:
            raise
        raise ConfigError(f"{error}; {did_you_mean(head, JUDGES)}") from error
    except Exception as error:  # whatever somebody's class does
        raise ConfigError(
            f"judge '{name}' cannot be made: {type(error).__name__}: {error}"
        ) from error
    ours = type(made).__module__.startswith("skunlearn.")
    judge = made if ours else ValidatedJudge(made, name, digest(named_files(name)))
    return judge

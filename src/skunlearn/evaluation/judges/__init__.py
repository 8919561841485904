"""Judges: from prompts and answers to verdicts with evidence, and the table of their names."""

from pathlib import Path

from skunlearn.evaluation.judges.base import Agreement as Agreement
from skunlearn.evaluation.judges.base import Judge
from skunlearn.evaluation.judges.base import Verdict as Verdict
from skunlearn.evaluation.judges.degenerate import degenerate_reason as degenerate_reason
from skunlearn.evaluation.judges.validated import ValidatedJudge, read_agreement
from skunlearn.utils.consent import check_address
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.hashing import digest, named_files
from skunlearn.utils.registry import did_you_mean, resolve

JUDGES = {
    "offline": "skunlearn.evaluation.judges.offline:OfflineJudge",
    "guard": "skunlearn.evaluation.judges.guard:GuardJudge",
    "api": "skunlearn.evaluation.judges.api:ApiJudge",
}
# The judges that take an argument behind a colon, and how it is written.
ARGUMENTS = {
    "guard": "guard:ID_OR_FOLDER or guard:FORM:ID_OR_FOLDER",
    "api": "api:MODEL@URL or api:RUBRIC:MODEL@URL",
}


def make_judge(name: str, check: str | None = None) -> Judge:
    """The judge of that name.

    Args:
        name: "offline", one of the forms in `ARGUMENTS`, "package.module:Class" or "file.py:Class".
        check: file with the output of `skunlearn judge check --json` for that judge; its agreement
            corrects the judge's rates.

    Raises:
        ConfigError: when there is no such judge, or its argument or check is missing or wrong.
        ModelError: when its model cannot be found.
    """
    judge = _make(name)
    if check:
        agreement = read_agreement(Path(check), judge.name)
        return ValidatedJudge(judge, name, measured=agreement)
    return judge


def _make(name: str) -> Judge:
    head, _, argument = name.partition(":")
    judge: Judge
    if head in ARGUMENTS:
        if not argument:
            raise ConfigError(f"judge '{name}' needs to know its model: write {ARGUMENTS[head]}")
        if head == "api":
            check_address(name)
        judge = resolve(head, JUDGES, "judge")(argument)
        return judge
    if head in JUDGES and argument:
        raise ConfigError(
            f"judge '{head}' takes nothing behind a colon: write --set evaluate.judge={head}"
        )
    judge = _make_from_class(name)
    # A user's judge is checked at every call, and its verdicts are stored with its file's digest.
    if type(judge).__module__.startswith("skunlearn."):
        return judge
    return ValidatedJudge(judge, name, digest(named_files(name)))


def _make_from_class(name: str) -> Judge:
    """An instance of a class that takes no arguments."""
    head, _, argument = name.partition(":")
    judge: Judge
    try:
        judge = resolve(name, JUDGES, "judge")()
    except ConfigError as error:
        # "gaurd:org/name" reads as a module and a class, but is a misspelt name of ours.
        if not argument or "." in head:
            raise
        raise ConfigError(f"{error}; {did_you_mean(head, JUDGES)}") from error
    except Exception as error:  # a user's class may raise anything
        raise ConfigError(
            f"judge '{name}' cannot be made: {type(error).__name__}: {error}"
        ) from error
    return judge

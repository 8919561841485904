"""What settings that others wrote may do: no code and no addresses, unless the user names them.

A run folder may come from anybody. Its run file can name a class in a Python file, code that comes
with a model, or the address of a judge that would get the user's key. Such a name counts only when
the user gives it: on this command line, in a run file of their own, or in Python. Everything else
in the settings is plain values and does no harm.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class Consent:
    """What the user allows.

    Attributes:
        code: run the classes that a run folder names.
        remote_code: run the code of the models that a run folder trusts.
    """

    code: bool = False
    remote_code: bool = False


NOTHING = Consent()
_CONSENT: ContextVar[Consent] = ContextVar("consent", default=NOTHING)
_named: set[str] = set()  # texts in what the user gave
_others: dict[str, Path] = {}  # texts in the settings of a run folder -> the file


@contextmanager
def allowing(
    code: bool = False, remote_code: bool = False, judge: str | None = None
) -> Iterator[None]:
    """A block inside which run folders may name more; see the options of the same names.

    Args:
        code: run the classes that a run folder names, as `--allow-code`.
        remote_code: run the code of the models that it trusts, as `--trust-remote-code`.
        judge: a judge with an address that may get the key, as `--judge`.
    """
    before = _CONSENT.get()
    added = {judge} - _named if judge else set()
    _named.update(added)
    token = _CONSENT.set(Consent(code or before.code, remote_code or before.remote_code))
    try:
        yield
    finally:
        _CONSENT.reset(token)
        _named.difference_update(added)


def name_here(settings: Any) -> None:
    """Remember what the user has named on this command line.

    Args:
        settings: a text, or mappings and lists of them.
    """
    _named.update(_texts(settings))


def name_own(settings: dict[str, Any]) -> None:
    """Remember the settings of a run that the user starts, apart from what a run folder brought."""
    _named.update(text for text in _texts(settings) if text not in _others)


def note_others(settings: Any, path: Path) -> None:
    """Remember which texts a run folder's settings hold, before anything is made of them.

    Args:
        settings: a run file's tree.
        path: the run file.

    Raises:
        ConfigError: when it trusts the code of a model, and the user has not said so.
    """
    for text in _texts(settings):
        _others[text] = path
    trust = _trust(settings)
    if trust and trust not in _named and not _CONSENT.get().remote_code:
        raise ConfigError(
            f"{path} would run the Python code that comes with its model (load.trust_remote_code): "
            "if you trust that model, add --trust-remote-code"
        )


def check_code(name: str, family: str) -> None:
    """Refuse a class that only a run folder's settings name.

    Args:
        name: "package.module:Class" or "file.py:Class".
        family: what it is called in the error ("method", "judge").

    Raises:
        ConfigError: when the user has not allowed it.
    """
    path = _only_others(name)
    if path and not _CONSENT.get().code:
        raise ConfigError(
            f"{path} would run the Python code of its {family} '{name}': read it, and if you "
            "trust it add --allow-code"
        )


def check_address(judge: str) -> None:
    """Refuse a judge's address that only a run folder's settings name: it would get the key.

    Raises:
        ConfigError: when the user has not named it.
    """
    path = _only_others(judge)
    if path:
        raise ConfigError(
            f"{path} would send answers and your key to its judge '{judge}': if you trust that "
            f"address, add --judge '{judge}'"
        )


def _only_others(text: str) -> Path | None:
    """The run file that holds a text, alone or in another, which the user has not given."""
    if text not in _named:
        for other, path in _others.items():
            if text in other:
                return path
    return None


def _trust(settings: Any) -> str:
    """What stands for trust in the code of these settings' model; empty without it."""
    load = settings.get("load") if isinstance(settings, dict) else None
    trusted = load.get("trust_remote_code") if isinstance(load, dict) else None
    # Any other value than these could be read as true.
    return "" if trusted in (None, False) else f"the code of {settings.get('model')}"


def _texts(settings: Any) -> set[str]:
    """All values as texts, at any depth, with what stands for trust in a model's code."""
    found = {_trust(settings)} - {""}
    left = [settings]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        found.add(str(value))
    return found

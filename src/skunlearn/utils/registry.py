"""From a name to a class: "name" | "package.module:Class" | "file.py:Class"."""

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import ConfigError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one, or the list of all."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


def resolve(name: str, table: Mapping[str, str], family: str) -> Any:
    """The class that a name stands for.

    Args:
        name: a key of `table`, or "package.module:Class", or "file.py:Class".
        table: the family's own names -> "package.module:Class".
        family: what it is called in an error ("method", "judge").

    Raises:
        ConfigError: when there is no such name, module, file or class.
    """
    target = table.get(name, name)
    where, colon, attribute = target.rpartition(":")
    if not colon:
        raise ConfigError(f"unknown {family} '{name}': {did_you_mean(name, table)}")
    try:
        return getattr(_module(where), attribute)
    except (ImportError, FileNotFoundError, AttributeError) as error:
        raise ConfigError(f"{family} '{name}' cannot be loaded: {error}") from error


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(Path(where).stem, where)
    assert (
        spec is not None and spec.loader is not None
    )  # a path that ends in .py always has a loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError:
        raise
    except ModuleNotFoundError as error:
        hint = (
            "; its modules have moved: see 'Your own method' in the docs"
            if "skunlearn" in str(error.name)
            else ""
        )
        raise ConfigError(f"{where}: cannot be loaded: {error}{hint}") from error
    except Exception as error:  # whatever somebody's file does
        raise ConfigError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error
    return module

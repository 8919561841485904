"""Classes by name: "name" | "package.module:Class" | "file.py:Class"."""

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.moved_modules import old_names


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest of the known ones, or all of them.

    Args:
        name: what was given.
        known: the names that there are.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(names)}"


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
        module = _file_module(where) if where.endswith(".py") else importlib.import_module(where)
        return getattr(module, attribute)
    except (ImportError, FileNotFoundError, AttributeError) as error:
        raise ConfigError(f"{family} '{name}' cannot be loaded: {error}") from error


def _file_module(where: str) -> Any:
    """Runs a Python file of the user as a module.

    Args:
        where: its path, which ends in ".py".
    """
    spec = importlib.util.spec_from_file_location(Path(where).stem, where)
    # A path that ends in ".py" always has a loader.
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        with old_names():
            spec.loader.exec_module(module)
    except FileNotFoundError:
        raise
    except ModuleNotFoundError as error:
        hint = ""
        if "skunlearn" in str(error.name):
            hint = "; its modules have moved: see 'Your own method' in the docs"
        raise ConfigError(f"{where}: cannot be loaded: {error}{hint}") from error
    except Exception as error:  # whatever the user's file raises
        raise ConfigError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error
    return module

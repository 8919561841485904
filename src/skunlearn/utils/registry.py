"""Classes by name: "name" | "package.module:Class" | "file.py:Class"."""

import difflib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skunlearn.utils.consent import check_code
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.moved_modules import old_names

# Files that hold classes of the user.
_own_files: set[str] = set()


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
        ConfigError: when there is no such name, module, file or class, or only the settings of a
            run folder name it (`utils.consent`).
    """
    target = table.get(name, name)
    where, colon, attribute = target.rpartition(":")
    if not colon:
        raise ConfigError(f"unknown {family} '{name}': {did_you_mean(name, table)}")
    if name not in table:
        check_code(name, family)
    try:
        module = _file_module(where) if where.endswith(".py") else importlib.import_module(where)
        if name not in table:
            _own_files.add(str(getattr(module, "__file__", "")))
        return getattr(module, attribute)
    except (ImportError, FileNotFoundError, AttributeError) as error:
        raise ConfigError(f"{family} '{name}' cannot be loaded: {error}") from error


def place_in_own_code(error: BaseException) -> str:
    """Where in a file of the user's own an error came from, as FILE:LINE.

    Args:
        error: with its traceback.

    Returns:
        The innermost place in a file that `resolve` loaded and that is none of skunlearn; "" when
        there is none.
    """
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in _own_files:
            found = f"{frame.filename}:{frame.lineno}"
    return found


def _file_module(where: str) -> Any:
    """Runs a Python file of the user as a module.

    Args:
        where: its path, which ends in ".py".
    """
    # A name of its own, so that files of the same name do not meet; dataclasses and annotations
    # look the module up by it.
    path = Path(where).resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, where)
    # A path that ends in ".py" always has a loader.
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with old_names():
            spec.loader.exec_module(module)
    except FileNotFoundError:
        if path.is_file():  # what the file itself opens is missing
            raise ConfigError(f"{where}: cannot be loaded: a file is missing") from None
        raise
    except ModuleNotFoundError as error:
        hint = ""
        if "skunlearn" in str(error.name):
            hint = "; its modules have moved: see 'Your own method' in the docs"
        raise ConfigError(f"{where}: cannot be loaded: {error}{hint}") from error
    except Exception as error:  # whatever the user's file raises
        raise ConfigError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error
    return module

"""Options in Python are checked as those of run files are: a wrong value is one line, not a run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean

Class = TypeVar("Class", bound=type)

POST_INIT = "__post_init__"
INFINITE = "infinite"  # in a field's metadata: the option may be infinite, for no limit
LARGEST = 2.0**63  # numbers beyond it are mistakes, and no computation can use them

NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def checked(cls: Class, section: str = "") -> Class:
    """A class decorator: every instance's fields are checked against their annotated types.

    It stands below `@dataclass`. The check comes before the class's own `__post_init__`. Numbers
    must be finite unless the field's metadata has `INFINITE`, whole ones are given as `int`, and a
    list is taken for a tuple. The default of a field may be anything.

    Args:
        cls: the class that becomes a dataclass of options.
        section: what the options are called in run files, for errors; the class's name if "".
    """
    own = cls.__dict__.get(POST_INIT)

    def post_init(self: Any) -> None:
        _check(self, section or cls.__name__)
        if own is not None:
            own(self)
        else:
            inherited = getattr(super(cls, self), POST_INIT, None)
            if inherited is not None:
                inherited()

    setattr(cls, POST_INIT, post_init)
    return cls


def checked_as(section: str) -> Callable[[Class], Class]:
    """`checked` for options that errors call by their section of a run file.

    Args:
        section: its name.
    """

    def decorate(cls: Class) -> Class:
        return checked(cls, section)

    return decorate


def _check(options: Any, where: str) -> None:
    """Check all fields of an instance.

    Args:
        options: the instance.
        where: what its options are called in errors.

    Raises:
        ConfigError: for the first value that does not fit the annotated type of its field.
    """
    hints = _hints(type(options))
    for field in fields(options):
        value = getattr(options, field.name)
        hint = hints.get(field.name, Any)
        if _is_default(field, value) or (field.metadata.get(INFINITE) and value == math.inf):
            continue
        if isinstance(value, list) and _takes_tuple(hint):
            value = tuple(value)
            object.__setattr__(options, field.name, value)
        if isinstance(value, str) and hint is Path:
            object.__setattr__(options, field.name, Path(value))
        elif not _fits(value, hint):
            shown = repr(value)
            if len(shown) > 60:
                shown = shown[:60] + "..."
            raise ConfigError(f"{where}.{field.name}={shown}: {_advice(value, hint)}")


def _hints(cls: type) -> Mapping[str, Any]:
    """The annotated types of a class; none where a name in them cannot be found."""
    try:
        return get_type_hints(cls)
    except (NameError, TypeError):
        return {}


def _is_default(field: Field[Any], value: Any) -> bool:
    return field.default is not MISSING and value is field.default


def _takes_tuple(hint: Any) -> bool:
    return any(get_origin(kind) is tuple for kind in (hint, *get_args(hint)))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; True for types that are not told apart here."""
    origin = get_origin(hint)
    inner = get_args(hint)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if origin in (Union, UnionType):
        return any(_fits(value, kind) for kind in inner)
    if origin is tuple:
        return isinstance(value, tuple) and _items_fit(value, inner)
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        return _is_number(value, hint)
    if hint in (None, NoneType):
        return value is None
    kind = origin or hint
    return not isinstance(kind, type) or isinstance(value, kind)


def _items_fit(values: tuple[Any, ...], kinds: tuple[Any, ...]) -> bool:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(values)
    if len(kinds) != len(values):
        return False
    return all(map(_fits, values, kinds))


def _is_number(value: Any, kind: type) -> bool:
    """Whether a value is a finite number of a usable size; True and False are none."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int) or (kind is float and isinstance(value, float)):
        # NaN is not at most anything.
        return abs(value) <= LARGEST
    return False


def _advice(value: Any, hint: Any) -> str:
    """What to give instead."""
    if get_origin(hint) is Literal:
        return did_you_mean(str(value).lower(), map(str, get_args(hint)))
    return f"give {_described(hint)}"


def _described(hint: Any) -> str:
    inner = get_args(hint)
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " or ".join(map(_described, inner))
    if origin is tuple:
        return f"a tuple of which each item is {_described(inner[0])}" if inner else "a tuple"
    if hint in (None, NoneType):
        return "None"
    if hint in NAMES:
        return NAMES[hint] + (" that is finite and not huge" if hint in (int, float) else "")
    return f"a {getattr(hint, '__name__', hint)}"

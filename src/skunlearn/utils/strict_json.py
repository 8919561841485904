"""JSON that may come from anybody: whatever is wrong with it is one line with the path.

All JSON of ours and of others is read here, and all YAML by `settings.parse_yaml`.
"""

import json
import math
from typing import Any

from skunlearn.utils.errors import RunError, SkunlearnError

JsonDict = dict[str, Any]  # an object of JSON or YAML

DEEPEST = 100  # levels of a value that is read; Python gives up at about 1,000
MOST_VALUES = 10_000_000  # in a file
MOST_DIGITS = 300  # of a whole number; no computation can use a longer one


class Stored(JsonDict):
    """An object of a JSON file. A key that it lacks is an error for the user, with the file.

    Attributes:
        where: the file, with the line where it is known.
    """

    where = ""

    def __missing__(self, key: str) -> Any:
        raise MissingKeyError(
            f"{self.where}: '{key}' is missing: the file is broken or of another version"
        )


class MissingKeyError(RunError, KeyError):
    """An object of a JSON file lacks a key."""

    __str__ = Exception.__str__  # that of KeyError would quote the text


def strict_json(text: str | bytes, where: str = "", nan_is_missing: bool = False) -> Any:
    """The value of a JSON text, in which objects know where they come from.

    Args:
        text: the JSON; bytes are UTF-8.
        where: the file, for errors about missing keys; without it objects are plain ones.
        nan_is_missing: read NaN as None: programs write empty cells of a table so.

    Raises:
        ValueError: when it is not JSON, gives a key twice, holds NaN or a number beyond all
            measure, or is nested too deeply.
    """

    def stored(pairs: list[tuple[str, Any]]) -> JsonDict:
        found = Stored(pairs) if where else dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is there twice")
        if isinstance(found, Stored):
            found.where = where
        return found

    def constant(name: str) -> None:
        if not (nan_is_missing and name == "NaN"):
            _refuse_number(name)

    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = json.loads(
            text,
            object_pairs_hook=stored,
            parse_constant=constant,
            parse_float=_finite,
            parse_int=_usable,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if text.count("[") + text.count("{") > DEEPEST:
        check_size(value)
    return value


def _refuse_number(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not a number that can be used")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _usable(text: str) -> int:
    return int(text) if len(text) <= MOST_DIGITS else _refuse_number(text)


def check_size(value: Any, most: int = MOST_VALUES) -> None:
    """Refuses a value that is nested too deeply, or that aliases of YAML make too large.

    Args:
        value: objects, lists and plain values.
        most: values, of which an alias counts as what it stands for.

    Raises:
        ValueError: when it is.
    """
    level = [value]
    seen = 0
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list | tuple):
                inner += item
            if seen + len(inner) > most:
                raise ValueError("too many values")
        seen += len(inner)
        if not inner:
            return
        level = inner
    raise ValueError("nested too deeply")


def parse_json(
    text: str | bytes,
    where: str,
    error: type[SkunlearnError] = RunError,
    expected: type[Any] | None = None,
    advice: str = "",
) -> Any:
    """The value of a JSON text that may come from anybody.

    Args:
        text: the JSON; bytes are UTF-8.
        where: the file, with the line where it is known.
        error: the kind of error for a text that cannot be used.
        expected: `dict` or `list`, where the value must be an object or a list.
        advice: what to do, for the error.

    Raises:
        SkunlearnError: of the given kind, for what `strict_json` refuses and for another type.
    """
    try:
        value = strict_json(text, where)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a character is an error
    except ValueError as problem:
        raise error(f"{where}: not valid JSON ({problem!s:.120}){advice}") from problem
    if expected is not None and not isinstance(value, expected):
        name = "an object" if expected is dict else "a list"
        found = type(value).__name__
        raise error(f"{where}: expected {name}, found {found}{advice}")
    return value

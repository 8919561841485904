"""Trees of options as YAML gives them: laid over each other, flattened, made into dataclasses."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.registry import did_you_mean


def merged(tree: JsonDict, other: JsonDict) -> JsonDict:
    """`other` laid over `tree`, section by section.

    A method of another name in `other` replaces the method of `tree` with all of its options.
    """
    result = {**tree}
    for key, given in other.items():
        old = result.get(key)
        new = given
        if key == "method" and isinstance(given, str | Mapping):
            old = _method_section(old)
            new = _method_section(given)
            if "name" in new and new["name"] != old.get("name"):
                old = {}
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            result[key] = merged({**old}, {**new})
        else:
            result[key] = new
    return result


def _method_section(method: Any) -> Any:
    """A method as a section: `sku` is short for `{name: sku}`."""
    if isinstance(method, str):
        return {"name": method}
    return method or {}


def without_name(tree: JsonDict) -> JsonDict:
    """A section without its `name`: the options of a method or filter."""
    return {key: value for key, value in tree.items() if key != "name"}


def build_options(cls: type[Any], tree: Any, where: str) -> Any:
    """An instance of a dataclass of options, with the values of a section.

    Args:
        cls: the dataclass; its fields may be dataclasses too.
        tree: the section.
        where: what the section is called in errors; "" for the root.

    Raises:
        ConfigError: when an option is unknown or of the wrong type.
    """
    _check_keys(cls, tree, where)
    try:
        return TypeAdapter(cls).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        location = [where, *first["loc"]]
        path = ".".join(str(part) for part in location if str(part))
        raise ConfigError(f"{path}={first['input']!r:.60}: {first['msg']:.200}") from error


def _check_keys(cls: type[Any], tree: Any, where: str) -> None:
    """Refuses unknown options, which pydantic would ignore for a plain dataclass."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where or 'the run'}: expected a section of keys, found {tree!r}")
    if not isinstance(cls, type) or not is_dataclass(cls):
        name = getattr(cls, "__name__", cls)
        raise ConfigError(
            f"{where}: '{name}' is no dataclass: write @dataclass(frozen=True) above the class"
        )
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls)]
    for key, value in tree.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            raise ConfigError(f"unknown option '{path}': {did_you_mean(str(key), known)}")
        hint = hints[key]
        if isinstance(value, bool) and set(get_args(hint) or (hint,)) <= {int, float, NoneType}:
            # pydantic would take true for 1.
            raise ConfigError(f"{path}={str(value).lower()}: give a number")
        if isinstance(hint, type) and is_dataclass(hint):
            _check_keys(hint, value, path)


def flat(tree: JsonDict, before: str = "") -> Iterator[str]:
    """The values of a tree as texts of the form `section.key=value`.

    Args:
        tree: nested mappings.
        before: what stands before each key.
    """
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            text = "null" if value is None else value
            yield f"{before}{key}={text}"

"""Options as plain values: run files in YAML, `--set`, and dataclasses built from them.

A *tree* is what YAML gives: nested mappings, lists and plain values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.registry import did_you_mean

BOOLEAN_TAG = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2, which are `true` and `false` alone.

    `off`, `on`, `yes` and `no` are texts, as in `method.pd_mode=off`.
    """


def _resolvers_of_yaml_1_2() -> dict[str, list[tuple[str, Any]]]:
    """PyYAML's table from a value's first letter to its possible types, as (tag, pattern).

    A boolean is left only where the first letter can begin `true` or `false`.
    """
    table = {}
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
        kept = []
        for tag, pattern in resolvers:
            if tag != BOOLEAN_TAG or letter in "tTfF":
                kept.append((tag, pattern))
        table[letter] = kept
    return table


_Loader.yaml_implicit_resolvers = _resolvers_of_yaml_1_2()


def to_yaml(tree: JsonDict) -> str:
    """A tree as YAML text, which `read_run` can read."""
    return str(yaml.safe_dump(tree, sort_keys=False))


def read_run(path: Path) -> JsonDict:
    """The tree of a YAML run file.

    Raises:
        ConfigError: when it is missing, not YAML, or not a mapping.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}): give a YAML run file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: give a YAML run file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error!s:.80}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found {type(tree).__name__}")
    return tree


def with_sets(tree: JsonDict, sets: Sequence[str]) -> JsonDict:
    """A copy of a tree with the values of `--set` in it.

    Args:
        tree: left as it is.
        sets: texts of the form `section.key=value`; the values are YAML.

    Raises:
        ConfigError: when a text is not of that form, or its section is a plain value.
    """
    changed = {**tree}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set {text}: write section.key=value, as in --set train.steps=40")
        keys = path.strip().split(".")
        section = _copied_section(changed, keys[:-1], text)
        try:
            section[keys[-1]] = yaml.load(value, _Loader)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: the value is not valid YAML") from error
    return changed


def _copied_section(tree: JsonDict, keys: Sequence[str], text: str) -> JsonDict:
    """The section that keys lead to. All sections on the way are replaced by copies.

    Args:
        tree: is changed.
        keys: the names of the sections, from the root; a missing one is made.
        text: what `--set` was given, for the error.
    """
    section = tree
    for depth, key in enumerate(keys, start=1):
        inner = section.get(key, {})
        # `method: sku` is short for `method: {name: sku}`.
        if key == "method" and isinstance(inner, str):
            inner = {"name": inner}
        if not isinstance(inner, Mapping):
            name = ".".join(keys[:depth])
            raise ConfigError(f"--set {text}: '{name}' is a value, not a section")
        section[key] = {**inner}
        section = section[key]
    return section


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
        raise ConfigError(f"{path}={first['input']!r}: {first['msg']}") from error


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
        if isinstance(hint, type) and is_dataclass(hint):
            _check_keys(hint, value, path)


def plain_values(tree: Mapping[str, Any]) -> JsonDict:
    """A tree as it is after a round trip through YAML: tuples are lists, and all values plain."""
    plain: JsonDict = yaml.safe_load(yaml.safe_dump(_without_tuples(tree)))
    return plain


def _without_tuples(value: Any) -> Any:
    """The value with lists in place of tuples, at any depth."""
    if isinstance(value, Mapping):
        return {key: _without_tuples(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_without_tuples(item) for item in value]
    return value


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

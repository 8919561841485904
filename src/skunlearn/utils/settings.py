"""Options as plain values: YAML, `--set`, checked dataclasses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.registry import did_you_mean


class _Loader(yaml.SafeLoader):
    """YAML 1.2's truth values, `true` and `false`: `off` and `yes` are words, as in
    `method.pd_mode=off`."""


_Loader.yaml_implicit_resolvers = {
    letter: [
        (tag, pattern)
        for tag, pattern in known
        if tag != "tag:yaml.org,2002:bool" or letter in "tTfF"
    ]
    for letter, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def to_yaml(tree: JsonDict) -> str:
    """Settings as `read_run` reads them."""
    return str(yaml.safe_dump(tree, sort_keys=False))


def read_run(path: Path) -> JsonDict:
    """The values of a YAML run file.

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
        raise ConfigError(
            f"{path}:{mark.line + 1 if mark else 1}: not valid YAML: {error!s:.80}"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found {type(tree).__name__}")
    return tree


def with_sets(tree: JsonDict, sets: Sequence[str]) -> JsonDict:
    """The tree with `section.key=value` texts put in; values are YAML.

    Raises:
        ConfigError: when a text has not that form.
    """
    tree = {**tree}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set {text}: write section.key=value, as in --set train.steps=40")
        keys = path.strip().split(".")
        node = tree
        for at, key in enumerate(keys[:-1]):
            old = node.get(key, {})
            if key == "method" and isinstance(old, str):
                old = {"name": old}
            if not isinstance(old, Mapping):
                raise ConfigError(
                    f"--set {text}: '{'.'.join(keys[: at + 1])}' is a value, not a section"
                )
            node[key] = {**old}
            node = node[key]
        try:
            node[keys[-1]] = yaml.load(value, _Loader)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: the value is not valid YAML") from error
    return tree


def without_name(tree: JsonDict) -> JsonDict:
    return {key: value for key, value in tree.items() if key != "name"}


def build_options(cls: type[Any], tree: Any, where: str) -> Any:
    _check_keys(cls, tree, where)
    try:
        return TypeAdapter(cls).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in (where, *first["loc"]) if str(part))
        raise ConfigError(f"{path}={first['input']!r}: {first['msg']}") from error


def _check_keys(cls: type[Any], tree: Any, where: str) -> None:
    """pydantic ignores unknown keys of a plain dataclass, so they are looked for here."""
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
        if is_dataclass(hints[key]) and isinstance(hints[key], type):
            _check_keys(hints[key], value, path)


def plain_values(tree: Mapping[str, Any]) -> JsonDict:
    """Settings as YAML would give them back: tuples as lists, and nothing but plain values."""
    plain: JsonDict = yaml.safe_load(yaml.safe_dump(_without_tuples(tree)))
    return plain


def _without_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_tuples(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_without_tuples(item) for item in value]
    return value


def flat(tree: JsonDict, before: str = "") -> Iterable[str]:
    """The settings as `section.key=value`."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}={'null' if value is None else value}"


def merged(tree: JsonDict, other: JsonDict) -> JsonDict:
    """`other` laid over `tree`, section by section; another method brings none of the old one's
    options along."""
    tree = {**tree}
    for key, given in other.items():
        old, new = tree.get(key), given
        if key == "method" and isinstance(given, str | Mapping):
            old, new = (
                {"name": side} if isinstance(side, str) else side or {} for side in (old, given)
            )
            if "name" in new and new["name"] != old.get("name"):
                old = {}
        tree[key] = (
            merged({**old}, {**new})
            if isinstance(old, Mapping) and isinstance(new, Mapping)
            else new
        )
    return tree

"""Options as plain values: run files in YAML, `--set`, and dataclasses built from them.

A *tree* is what YAML gives: nested mappings, lists and plain values.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from skunlearn.utils.consent import name_here, note_others
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.option_trees import build_options as build_options
from skunlearn.utils.option_trees import flat as flat
from skunlearn.utils.option_trees import merged as merged
from skunlearn.utils.option_trees import without_name as without_name
from skunlearn.utils.strict_json import check_size

MOST_VALUES = 100_000  # in a YAML file; an alias counts as what it stands for
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


def _without_duplicates(loader: _Loader, node: yaml.MappingNode) -> Iterator[JsonDict]:
    """A mapping, of which no key is given twice."""
    given: set[Any] = set()
    for key, _ in node.value:
        name = (key.tag, str(key.value))
        if name in given:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key.value!s:.40}' is there twice", key.start_mark
            )
        given.add(name)
    yield from loader.construct_yaml_map(node)


def _refused(_: _Loader, node: yaml.Node) -> Any:
    raise yaml.constructor.ConstructorError(
        None, None, f"no option has a value of the type {node.tag!s:.40}", node.start_mark
    )


_Loader.add_constructor("tag:yaml.org,2002:map", _without_duplicates)
for _tag in ("binary", "set", "omap", "pairs"):  # no option has such a value
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refused)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        text: the YAML.
        where: the file, or the option that holds the text.

    Raises:
        ConfigError: when it is not YAML, gives a key twice, is nested too deeply or grows too large
            by its aliases, or holds a date or number that cannot be.
    """
    try:
        value = yaml.load(text, _Loader)
        check_size(value, MOST_VALUES)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ConfigError(f"{where}{line}: not valid YAML: {problem!s:.80}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: not valid YAML: nested too deeply") from error
    # A date or a number that cannot be, or bytes that are none.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ConfigError(f"{where}: not valid YAML: {error!s:.80}") from error
    return value


def is_of_run_folder(path: Path) -> bool:
    """Whether a YAML file belongs to a run folder, which may be somebody else's."""
    return path.name in ("run.yaml", "tuned.yaml") or (path.parent / "settings.json").exists()


def to_yaml(tree: JsonDict) -> str:
    """A tree as YAML text, which `read_run` can read."""
    return str(yaml.safe_dump(tree, sort_keys=False))


def read_run(path: Path) -> JsonDict:
    """The tree of a YAML run file.

    What the file of a run folder names does not count as named by the user; see `utils.consent`.

    Raises:
        ConfigError: when it is missing, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}): give a YAML run file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: give a YAML run file") from error
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found {type(tree).__name__}")
    if is_of_run_folder(path):
        note_others(tree, path)
    else:
        name_here(tree)
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
        section[keys[-1]] = parse_yaml(value, f"--set {text:.80}")
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

"""Presets: named settings that ship with the package, and how settings are laid over each other."""

from collections.abc import Mapping
from importlib.resources import as_file, files

from skunlearn.config import Tree, read_run
from skunlearn.errors import ConfigError
from skunlearn.registry import did_you_mean


def read_preset(name: str) -> Tree:
    """The settings of a preset.

    Raises:
        ConfigError: when there is no such preset.
    """
    shipped = {
        file.name.removesuffix(".yaml"): file for file in files(__package__).iterdir() if file.name.endswith(".yaml")
    }
    if name not in shipped:
        raise ConfigError(f"unknown preset '{name}': {did_you_mean(name, shipped)}")
    with as_file(shipped[name]) as path:
        return read_run(path)


def merged(tree: Tree, other: Tree) -> Tree:
    """`other` laid over `tree`, section by section; another method brings none of the old one's options along."""
    tree = {**tree}
    for key, given in other.items():
        old, new = tree.get(key), given
        if key == "method" and isinstance(given, str | Mapping):
            old, new = ({"name": side} if isinstance(side, str) else side or {} for side in (old, given))
            if "name" in new and new["name"] != old.get("name"):
                old = {}
        tree[key] = merged({**old}, {**new}) if isinstance(old, Mapping) and isinstance(new, Mapping) else new
    return tree

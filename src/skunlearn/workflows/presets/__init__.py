"""Presets: named settings that ship with the package, and how settings are laid over each other."""

from importlib.resources import as_file, files

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.registry import did_you_mean
from skunlearn.utils.settings import read_run


def read_preset(name: str) -> JsonDict:
    """The settings of a preset.

    Raises:
        ConfigError: when there is no such preset.
    """
    shipped = {
        file.name.removesuffix(".yaml"): file
        for file in files(__package__).iterdir()
        if file.name.endswith(".yaml")
    }
    if name not in shipped:
        raise ConfigError(f"unknown preset '{name}': {did_you_mean(name, shipped)}")
    with as_file(shipped[name]) as path:
        return read_run(path)

"""Presets: named settings that ship with the package, one YAML file each."""

from importlib.resources import as_file, files

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.registry import did_you_mean
from skunlearn.utils.settings import read_run


def read_preset(name: str) -> JsonDict:
    """The settings of a preset.

    Args:
        name: its file's name without ".yaml".

    Raises:
        ConfigError: when there is no such preset.
    """
    shipped = {}
    for file in files(__package__).iterdir():
        if file.name.endswith(".yaml"):
            shipped[file.name.removesuffix(".yaml")] = file
    if name not in shipped:
        raise ConfigError(f"unknown preset '{name}': {did_you_mean(name, shipped)}")
    with as_file(shipped[name]) as path:
        return read_run(path)

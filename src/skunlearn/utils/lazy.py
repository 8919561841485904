"""Names that a package imports when they are first used, so that importing the package costs
nothing (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package.

    Args:
        package: its name, for the error.
        homes: public name -> the module that defines it.

    Returns:
        A function from a name to its value; it raises AttributeError for a name that is not among
        `homes`.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(homes[name]), name)

    return get

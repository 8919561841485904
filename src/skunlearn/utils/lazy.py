"""Names of a package that are imported when they are first used (PEP 562).

Importing the package itself then costs nothing.
"""

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
        module = importlib.import_module(homes[name])
        return getattr(module, name)

    return get

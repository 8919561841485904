"""What a parameter's name says: its layer, and the kind of its module."""

from __future__ import annotations

import re


def layer_of(name: str) -> int | None:
    """The number of the decoder layer that a module or weight belongs to, None outside the
    layers."""
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else None


def kind_of(name: str) -> str:
    """The last name of the module that a weight belongs to."""
    return name.rpartition(".")[0].rpartition(".")[2]

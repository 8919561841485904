"""What a parameter's name says: its decoder layer and the kind of its module.

"model.layers.3.self_attn.q_proj.weight" belongs to layer 3 and to a module of the kind "q_proj".
"""

from __future__ import annotations

import re


def layer_of(name: str) -> int | None:
    """Number of the decoder layer that a module or parameter belongs to; None outside the layers.

    It is the first whole number between two dots.
    """
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else None


def kind_of(name: str) -> str:
    """Last part of the name of the module that a parameter belongs to."""
    module = name.rpartition(".")[0]
    return module.rpartition(".")[2]

"""Rows that a model cannot use: its chat template refuses them, or they are too long."""

from copy import copy
from dataclasses import replace
from typing import Any

from skunlearn.data.chat_template import Template
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example, Split
from skunlearn.utils.errors import DataError

# The sets of a split that users give. Those of the package itself always fit.
SETS = ("forget", "retain", "lookalike", "seen")
PARTS = ("train", "validation", "test")


def fitting_data(template: Template, data: Data) -> Data:
    """The data without the rows that do not fit, which are counted in its funnel.

    With `data.on_bad_row=error` it is the data as it is: the first such row is an error where it is
    encoded.

    Args:
        template: of the model.
        data: the examples; its options have the limit of the tokens.

    Raises:
        DataError: when nothing is left of a set in one of the parts.
    """
    if data.options.on_bad_row == "error":
        return data
    fitted = copy(data)
    fitted.funnel = list(data.funnel)
    dropped: dict[str, list[Example]] = {}
    for part in PARTS:
        split, problems = fitting_split(template, getattr(data, part), data.options.max_length)
        setattr(fitted, part, split)
        for name, unfit in problems.items():
            if not getattr(split, name):
                error = next(iter(unfit.values()))
                raise DataError(f"no {name} row of the {part} part fits the model: {error}")
            dropped.setdefault(name, []).extend(unfit)
    for name, examples in dropped.items():
        if name != "seen":  # they are counted as training rows
            left = sum(len(getattr(getattr(fitted, part), name)) for part in PARTS)
            step = f"that fit the template and data.max_length (not {_places(examples)})"
            fitted.funnel.append((name, step, left))
    return fitted


def fitting_split(
    template: Template, split: Split, max_length: int
) -> tuple[Split, dict[str, dict[Example, DataError]]]:
    """A part without the rows that do not fit, and why they do not, by the name of their set.

    Args:
        template: of the model.
        split: the part.
        max_length: tokens of prompt and answer together.
    """
    fitted: dict[str, Any] = {}
    problems: dict[str, dict[Example, DataError]] = {}
    for name in SETS:
        examples: tuple[Example, ...] = getattr(split, name)
        kept: list[Example] = []
        for example, row in zip(examples, template.encode_all(examples, max_length), strict=True):
            if isinstance(row, DataError):
                problems.setdefault(name, {})[example] = row
            else:
                kept.append(example)
        if len(kept) < len(examples):
            fitted[name] = tuple(kept)
    return replace(split, **fitted), problems


def _places(examples: list[Example]) -> str:
    """How many rows they are, and where the first one is."""
    more = f" and {len(examples) - 1} more" if len(examples) > 1 else ""
    return f"{examples[0].where}{more}"

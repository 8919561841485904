"""The data sets that are shipped with the package, in `data/builtin/`."""

import json
from importlib.resources import files
from typing import Any

from skunlearn.data.examples import Choice, Example
from skunlearn.data.multiple_choice import make_choice

BUILTIN = "builtin"
PARTS = ("train", "validation", "test")


def builtin_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a built-in set as they are shipped.

    Args:
        name: `forget`, `retain`, `lookalike`, `choice` or `refusals`.
    """
    text = files("skunlearn.data").joinpath(f"builtin/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def builtin_examples(
    name: str, parts: tuple[str, ...] = PARTS, extra: bool = True
) -> tuple[tuple[Example, ...], ...]:
    """The examples of a built-in set, part by part, one for each answer.

    Args:
        name: `forget`, `retain` or `lookalike`.
        parts: which parts. The part `final` is read only where it is named.
        extra: the rows that were added after version 0.1, too.
    """
    rows: list[dict[str, Any]] = []
    for row in builtin_rows(name):
        if extra or not row.get("extra"):
            rows.append(row)
    found = []
    for part in parts:
        found.append(_part_examples(rows, part))
    return tuple(found)


def _part_examples(rows: list[dict[str, Any]], part: str) -> tuple[Example, ...]:
    examples = []
    for row in rows:
        if row["part"] != part:
            continue
        # A row has several answers, one, or none (a prompt alone).
        answers = row.get("answers") or [row.get("answer", "")]
        for answer in answers:
            where = f"built-in {row['id']}"
            examples.append(Example(row["prompt"], answer, category=row["category"], where=where))
    return tuple(examples)


def builtin_paraphrases() -> tuple[Example, ...]:
    """Training prompts of the built-in forget set in other words.

    Prompts that the offline judge was trained on are left out.
    """
    examples = []
    for row in builtin_rows("forget"):
        if row.get("judge"):
            continue
        for text in row.get("paraphrases") or ():
            where = f"built-in {row['id']}"
            examples.append(Example(text, category=row["category"], where=where))
    return tuple(examples)


def builtin_neighbours() -> tuple[Choice, ...]:
    """Harmless questions on the subjects of the built-in forget set."""
    neighbours = []
    for row in builtin_rows("forget"):
        if row.get("neighbour"):
            neighbours.append(make_choice(row["neighbour"]))
    return tuple(neighbours)


def builtin_choices() -> tuple[Choice, ...]:
    """Questions of general knowledge, the categories in turn."""
    return tuple(make_choice(row) for row in builtin_rows("choice"))

"""The data sets that come with the package."""

import json
from importlib.resources import files
from typing import Any

from skunlearn.data.examples import Choice, Example
from skunlearn.data.multiple_choice import make_choice

BUILTIN = "builtin"


def builtin_examples(
    name: str, parts: tuple[str, ...] = ("train", "validation", "test")
) -> tuple[tuple[Example, ...], ...]:
    """Parts of a built-in set; `final` is not among them unless asked for."""
    rows = builtin_rows(name)
    return tuple(
        tuple(
            Example(row["prompt"], answer, category=row["category"], where=f"built-in {row['id']}")
            for row in rows
            if row["part"] == part
            for answer in row.get("answers") or [row.get("answer", "")]
        )
        for part in parts
    )


def builtin_paraphrases() -> tuple[Example, ...]:
    """Trained prompts of the built-in forget set in other words, without those that the judge was
    trained on."""
    return tuple(
        Example(text, category=row["category"], where=f"built-in {row['id']}")
        for row in builtin_rows("forget")
        if not row.get("judge")
        for text in row.get("paraphrases") or ()
    )


def builtin_neighbours() -> tuple[Choice, ...]:
    """Harmless questions on the subjects of the built-in forget set."""
    return tuple(
        make_choice(row["neighbour"]) for row in builtin_rows("forget") if row.get("neighbour")
    )


def builtin_choices() -> tuple[Choice, ...]:
    """Questions of general knowledge, the categories in turn."""
    return tuple(make_choice(row) for row in builtin_rows("choice"))


def builtin_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a built-in set as they are shipped: `forget`, `retain`, `lookalike`, `choice` or
    `refusals`."""
    text = files("skunlearn.data").joinpath(f"builtin/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]

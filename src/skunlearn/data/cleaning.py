"""From the rows of a forget or retain set to its distinct examples; every step is counted."""

from collections.abc import Sequence
from typing import Literal

from skunlearn.data.examples import Example, distinct_pairs
from skunlearn.data.pairs import Mapping, Pair
from skunlearn.data.text_files import Row
from skunlearn.utils.errors import DataError

OnBadRow = Literal["error", "skip"]
Step = tuple[str, int]  # a step of the cleaning, and how many rows are left after it


def clean_rows(
    rows: Sequence[tuple[Row, str]], mapping: Mapping, given: str, on_bad_row: OnBadRow
) -> tuple[tuple[Example, ...], list[Step]]:
    """The distinct examples of one set.

    Args:
        rows: each with its "file:line".
        mapping: how pairs are read from them, for the forget or the retain set.
        given: the file, source or hub data set, for errors.
        on_bad_row: whether a row that cannot be read, or a pair without a prompt or answer, stops
            the run or is skipped.

    Returns:
        The examples, and the steps in order.

    Raises:
        DataError: when a row cannot be read, or no row has the label of this side.
    """
    steps: list[Step] = [(f"rows of {given}", len(rows))]

    pairs = _read_pairs(rows, mapping, on_bad_row, steps)
    steps.append(("prompt/answer pairs", len(pairs)))
    for note in mapping.notes:
        steps.append((note, len(pairs)))

    # Of labelled pairs, unsafe ones are forgotten and safe ones retained.
    has_labels = any(pair.safe is not None for pair in pairs)
    if has_labels:
        retained = mapping.side == "retain"
        label = "safe" if retained else "unsafe"
        fate = "are kept" if retained else "are forgotten"
        labelled = len(pairs)
        pairs = [pair for pair in pairs if pair.safe is retained]
        column = f" in column '{mapping.label.name}'" if mapping.label else ""
        left_out = f"{labelled - len(pairs)} others are left out"
        steps.append((f"rows labelled {label}{column} {fate} ({left_out})", len(pairs)))
        if not pairs:
            raise DataError(
                f"{given}: no row is labelled {label}, so the {mapping.side} set is empty"
            )

    examples = _complete(pairs, on_bad_row, mapping.answered)
    needed = "a prompt and an answer" if mapping.answered else "a prompt"
    steps.append((f"with {needed}", len(examples)))

    unique = distinct_pairs(examples)
    steps.append(("without repeats", len(unique)))
    return unique, steps


def _read_pairs(
    rows: Sequence[tuple[Row, str]], mapping: Mapping, on_bad_row: OnBadRow, steps: list[Step]
) -> list[Pair]:
    """The pairs of all rows.

    A row that cannot be read stops the run, or is skipped and counted. When no row can be read, the
    first error is raised in either case.

    Args:
        rows: each with its "file:line".
        mapping: how pairs are read from them.
        on_bad_row: whether a row that cannot be read stops the run.
        steps: gets a step when rows were skipped.
    """
    pairs: list[Pair] = []
    problems: dict[str, DataError] = {}
    for row, where in rows:
        try:
            pairs.extend(mapping.pairs(row, where))
        except DataError as error:
            problems[where] = error
            if on_bad_row == "error":
                raise
    if problems:
        first = next(iter(problems))
        if len(problems) == len(rows):
            raise problems[first]
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        steps.append((f"that can be read (not {first}{more})", len(rows) - len(problems)))
    return pairs


def _complete(pairs: Sequence[Pair], on_bad_row: OnBadRow, answered: bool) -> list[Example]:
    """The examples with a prompt and, if needed, an answer; others are skipped or stop the run."""
    complete: list[Example] = []
    incomplete: list[Example] = []
    for pair in pairs:
        example = pair.example
        if example.prompt.strip() and (example.answer.strip() or not answered):
            complete.append(example)
        else:
            incomplete.append(example)
    if incomplete and on_bad_row == "error":
        first = incomplete[0]
        missing = "answer" if first.prompt.strip() else "prompt"
        raise DataError(
            f"{first.where}: no {missing} ({len(incomplete)} such rows): "
            "fill it in, name another column, "
            "or skip such rows with --set data.on_bad_row=skip"
        )
    return complete

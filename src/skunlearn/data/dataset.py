"""Data: the forget and retain sets, cleaned, counted and split by prompt."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from skunlearn.data.builtin_sets import (
    BUILTIN,
    PARTS,
    builtin_choices,
    builtin_examples,
    builtin_neighbours,
    builtin_paraphrases,
    builtin_rows,
)
from skunlearn.data.cleaning import OnBadRow, clean_rows
from skunlearn.data.columns import Columns
from skunlearn.data.examples import Example, Split, distinct, split_by_prompt
from skunlearn.data.pairs import Mapping, Side
from skunlearn.data.readers import SUFFIXES, Row, read_hub, read_rows
from skunlearn.data.sources import SOURCES
from skunlearn.utils.errors import DataError
from skunlearn.utils.options import checked_as

FEWEST_PROMPTS = 10

# The examples of one set in its parts: train, validation and test.
Parts = Sequence[tuple[Example, ...]]


@dataclass(frozen=True)
@checked_as("data")
class DataOptions:
    """How data is read and split.

    Attributes:
        forget: columns of the forget set.
        retain: columns of the retain set.
        on_bad_row: what to do with a row without a prompt or answer: stop, or skip and count it.
        max_length: tokens of prompt and answer together; longer answers are cut.
        validation: share of the prompts that choose the strength (0..1).
        test: share of the prompts that are reported (0..1).
        seed: which of the possible splits; the built-in sets have fixed parts.
        lookalike: take the built-in harmless look-alikes too (English), beside any forget and
            retain set.
        forget_answers: the answers that training reads: those that are "given" in the forget set,
            the model's "own" harmful answers to its prompts, or "both". With "own" a forget set
            needs no answers.
        own_samples: sampled answers to each forget prompt, of which the harmful ones are taken; 1
            or more.
        contexts: share of the training rows that stand in a built-in context (0..1): another
            wording, a system prompt, earlier turns.
    """

    forget: Columns = Columns()
    retain: Columns = Columns()
    on_bad_row: OnBadRow = "error"
    max_length: int = 256
    validation: float = 0.15
    test: float = 0.25
    seed: int = 0
    lookalike: bool = True
    forget_answers: Literal["given", "own", "both"] = "given"
    own_samples: int = 3
    contexts: float = 0.0

    def __post_init__(self) -> None:
        if self.own_samples < 1:
            raise DataError(f"data.own_samples={self.own_samples}: give 1 or more")
        if not 0 <= self.contexts <= 1:
            raise DataError(f"data.contexts={self.contexts}: give a share, 0 to 1")
        if self.max_length < 8:
            raise DataError(f"data.max_length={self.max_length}: give 8 tokens or more")
        if not (self.validation > 0 and self.test > 0 and self.validation + self.test < 0.9):
            raise DataError(
                "data.validation and data.test must be above 0 "
                "and leave a tenth or more for training"
            )


class Data:
    """A forget and a retain set in three parts, split by prompt.

    Args:
        forget: file, named source or hub id; the built-in set when not given.
        retain: likewise.
        options: columns, limits, shares, seed.

    Attributes:
        train: the examples of training.
        validation: the examples that choose the strength.
        test: the examples that are reported. Its `seen` prompts are training prompts, without those
            that the offline judge was trained on.
        builtin: the sets that were not given: "forget", "retain", both or none.
        funnel: (set, step, rows left after it) in order, for `plan` and the report.
    """

    def __init__(
        self,
        forget: str | Path | None = None,
        retain: str | Path | None = None,
        options: DataOptions | None = None,
    ) -> None:
        self.options = options or DataOptions()
        builtin: list[str] = []
        if forget is None:
            builtin.append("forget")
        if retain is None:
            builtin.append("retain")
        self.builtin = tuple(builtin)
        self.funnel: list[tuple[str, str, int]] = []

        forget_parts = self._read_side("forget", forget)
        retain_parts = self._read_side("retain", retain)
        lookalike_parts: Parts = ((), (), ())
        if self.options.lookalike:
            lookalike_parts = self._lookalikes(forget_parts)
        _check_overlap(forget_parts, retain_parts)

        parts = []
        for sets in zip(forget_parts, retain_parts, lookalike_parts, strict=True):
            parts.append(Split(*sets))
        self.train, self.validation, test = parts
        self.test = replace(test, seen=self._seen(), choice=builtin_choices())
        if "forget" in self.builtin or str(forget) == BUILTIN:
            self.test = replace(
                self.test, paraphrase=builtin_paraphrases(), neighbour=builtin_neighbours()
            )

    def with_final(self) -> "Data":
        """The same data with the `final` rows of the built-in sets among the test rows.

        They are read once, by the script behind docs/results.md; nothing else may call this.

        Raises:
            DataError: for the user's own data, which has no such rows.
        """
        if len(self.builtin) < 2:
            raise DataError(
                "only the built-in sets have final prompts: leave out --forget and --retain"
            )
        (forget,) = builtin_examples("forget", ("final",))
        (retain,) = builtin_examples("retain", ("final",))
        lookalike: tuple[Example, ...] = ()
        if self.options.lookalike:
            (lookalike,) = builtin_examples("lookalike", ("final",))
        data = copy(self)
        data.test = replace(
            self.test,
            forget=self.test.forget + forget,
            retain=self.test.retain + retain,
            lookalike=self.test.lookalike + lookalike,
        )
        return data

    @property
    def fingerprint(self) -> list[Any]:
        """Every prompt and answer, in order, for a digest: it changes when any example does."""
        parts = []
        for part in (self.train, self.validation, self.test):
            rows = []
            for example in (*part.forget, *part.retain, *part.lookalike):
                rows.append((example.history, example.prompt, example.answer))
            parts.append(rows)
        return parts

    def _seen(self) -> tuple[Example, ...]:
        """The distinct training prompts, without those that the offline judge was trained on."""
        judged = {row["prompt"] for row in builtin_rows("forget") if row.get("judge")}
        return distinct(example for example in self.train.forget if example.prompt not in judged)

    def _read_side(self, side: Side, given: str | Path | None) -> Parts:
        """The parts of the forget or retain set: those of the built-in set, or split here."""
        if given is None or str(given) == BUILTIN:
            builtin = builtin_examples(side)
            self.funnel.append((side, "built-in rows", sum(map(len, builtin))))
            return builtin

        named = self.options.forget if side == "forget" else self.options.retain
        rows, columns = _read(str(given), named)
        answered = side == "retain" or self.options.forget_answers != "own"
        mapping = Mapping(rows, columns, side, answered)
        examples, steps = clean_rows(rows, mapping, str(given), self.options.on_bad_row)
        for step, left in steps:
            self.funnel.append((side, step, left))
        prompts = len({example.group for example in examples})
        if prompts < FEWEST_PROMPTS:
            raise DataError(
                f"{given}: {prompts} distinct prompts are left for the {side} set: "
                f"give {FEWEST_PROMPTS} or more, "
                "since whole prompts are split into train, validation and test"
            )
        options = self.options
        parts = split_by_prompt(examples, options.validation, options.test, options.seed)
        for name, part in zip(PARTS, parts, strict=True):
            if not part:
                raise DataError(
                    f"{given}: of {prompts} prompts none is left for the {name} part: "
                    "give it a larger share"
                )
        return parts

    def _lookalikes(self, forget: Parts) -> Parts:
        """The built-in look-alikes without those whose prompt is in this forget set."""
        forgotten = {example.key for example in _chained(forget)}
        parts = []
        for part in builtin_examples("lookalike"):
            parts.append(tuple(example for example in part if example.key not in forgotten))
        self.funnel.append(("lookalike", "built-in rows", sum(map(len, parts))))
        return parts


def _chained(parts: Parts) -> list[Example]:
    """The examples of all parts, one part after the other."""
    examples: list[Example] = []
    for part in parts:
        examples += part
    return examples


def _check_overlap(forget: Parts, retain: Parts) -> None:
    """Refuses data in which a prompt is to be forgotten and retained."""
    forgotten = {example.key: example for example in _chained(forget)}
    both = []
    for example in _chained(retain):
        if example.key in forgotten:
            both.append(example)
    if both:
        first = both[0]
        raise DataError(
            f"{first.where}: this prompt is in the retain set and in the forget set "
            f"({forgotten[first.key].where}; {len(both)} such rows): "
            "take it out of one of them"
        )


def _read(given: str, named: Columns) -> tuple[list[tuple[Row, str]], Columns]:
    """The rows of a file, named source or hub data set, and the columns to read in them.

    Args:
        given: what the user gave as the forget or retain set.
        named: the columns that the user has named.
    """
    path = Path(given)
    if given in SOURCES and not path.is_file():
        source = SOURCES[given]
        rows = read_hub(source.hub, source.config, source.split)
        return rows, named.over(source.columns)
    # The id of a hub data set has one slash, as in "owner/name".
    is_hub_id = given.count("/") == 1
    if path.suffix.lower() in SUFFIXES or path.exists() or not is_hub_id:
        return read_rows(path), named
    return read_hub(given, None, "train"), named

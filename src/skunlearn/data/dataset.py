"""Data: the forget and retain sets, cleaned, counted and split by prompt."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain
from os import PathLike
from typing import Any, Literal

from skunlearn.data.builtin_sets import (
    BUILTIN,
    builtin_choices,
    builtin_examples,
    builtin_neighbours,
    builtin_paraphrases,
    builtin_rows,
)
from skunlearn.data.cleaning import OnBadRow, clean_rows
from skunlearn.data.columns import Columns
from skunlearn.data.examples import Example, Split, distinct
from skunlearn.data.memory import Given
from skunlearn.data.overlap import OnOverlap, check_overlap, overlapping
from skunlearn.data.pairs import Mapping
from skunlearn.data.pairs import Side as SideName
from skunlearn.data.sides import Parts, Side, split_sides
from skunlearn.data.sources import is_same_source, read_source
from skunlearn.utils.errors import DataError
from skunlearn.utils.options import checked_as


@dataclass(frozen=True)
@checked_as("data")
class DataOptions:
    """How data is read and split.

    Attributes:
        forget: columns of the forget set.
        retain: columns of the retain set.
        on_bad_row: what to do with a row that cannot be read, has no prompt or answer, does not fit
            into `max_length`, or is refused by the chat template: stop, or skip and count it.
        overlap: what to do with a prompt that is in both sets: stop, or drop it from the retain
            set. Of one labelled file that gives both sets, only equal answers count.
        max_length: tokens of prompt and answer together; longer answers are cut.
        validation: share of the prompts that choose the strength (0..1).
        test: share of the prompts that are reported (0..1).
        seed: which of the possible splits; the built-in sets have fixed parts.
        lookalike: take the built-in harmless look-alikes too (English), beside any forget and
            retain set.
        extra_lookalikes: with the 160 look-alikes that version 0.1 did not have.
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
    overlap: OnOverlap = "error"
    max_length: int = 256
    validation: float = 0.15
    test: float = 0.25
    seed: int = 0
    lookalike: bool = True
    extra_lookalikes: bool = True
    forget_answers: Literal["given", "own", "both"] = "given"
    own_samples: int = 3
    contexts: float = 0.7

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
        forget: file, folder, named source or hub id, or rows in memory (a list of objects with
            prompt and answer or of pairs, a table of pandas, a `datasets.Dataset`); the built-in
            set when not given.
        retain: likewise. It may be the same as `forget`, where labels or preferences say which
            answers are to be forgotten.
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
        forget: Given | None = None,
        retain: Given | None = None,
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

        one_source = is_same_source(forget, retain)
        if one_source and isinstance(forget, Iterator):
            forget = retain = list(forget)  # it can be read only once
        forget_side = self._read_side("forget", forget)
        retain_side = self._read_side("retain", retain)
        retain_side = self._without_overlap(forget_side, retain_side, one_source)
        self._names = (forget_side.given, retain_side.given)
        options = self.options
        shares = (options.validation, options.test, options.seed)
        forget_parts, retain_parts = split_sides(forget_side, retain_side, shares)
        lookalike_parts: Parts = ((), (), ())
        if self.options.lookalike:
            lookalike_parts = self._lookalikes(forget_parts)

        parts = []
        for sets in zip(forget_parts, retain_parts, lookalike_parts, strict=True):
            parts.append(Split(*sets))
        self.train, self.validation, test = parts
        self.test = replace(test, seen=self._seen(), choice=builtin_choices())
        if forget_side.given == BUILTIN:
            self.test = replace(
                self.test, paraphrase=builtin_paraphrases(), neighbour=builtin_neighbours()
            )

    def __repr__(self) -> str:
        lines = []
        for side, name in zip(("forget", "retain"), self._names, strict=True):
            lines.append(f"  {side:<9} {self._sizes(side)} of {name}")
        lines.append(f"  {'lookalike':<9} {self._sizes('lookalike')}")
        return "Data(\n" + "\n".join(lines) + "\n)"

    def _sizes(self, side: str) -> str:
        train = len(getattr(self.train, side))
        validation = len(getattr(self.validation, side))
        test = len(getattr(self.test, side))
        return f"{train} train, {validation} validation, {test} test"

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

    def _read_side(self, side: SideName, given: Given | None) -> Side:
        """The forget or retain set, before it is split."""
        if given is None or (isinstance(given, str | PathLike) and str(given) == BUILTIN):
            builtin = builtin_examples(side)
            if side == "forget" and self.options.forget_answers != "own":
                # Most training prompts have no answer: they are for the model's own answers.
                train, *others = builtin
                builtin = (tuple(row for row in train if row.answer), *others)
            examples = tuple(chain.from_iterable(builtin))
            self.funnel.append((side, "built-in rows", len(examples)))
            return Side(side, BUILTIN, examples, builtin)

        named = self.options.forget if side == "forget" else self.options.retain
        name, rows, columns = read_source(given, named, side)
        answered = side == "retain" or self.options.forget_answers != "own"
        mapping = Mapping(rows, columns, side, answered)
        examples, steps = clean_rows(rows, mapping, name, self.options.on_bad_row)
        for step, left in steps:
            self.funnel.append((side, step, left))
        return Side(side, name, examples)

    def _without_overlap(self, forget: Side, retain: Side, one_source: bool) -> Side:
        """The retain set without what is to be forgotten; an error unless that may be dropped."""
        both = overlapping(forget.examples, retain.examples, one_source)
        if self.options.overlap == "error":
            check_overlap(both, one_source)
        if both:
            retain = retain.without(example for example, _ in both)
            self.funnel.append(("retain", "not in the forget set, too", len(retain.examples)))
        return retain

    def _lookalikes(self, forget: Parts) -> Parts:
        """The built-in look-alikes without those whose prompt is in this forget set."""
        forgotten = {example.key for example in chain.from_iterable(forget)}
        parts = []
        for part in builtin_examples("lookalike", extra=self.options.extra_lookalikes):
            parts.append(tuple(example for example in part if example.key not in forgotten))
        self.funnel.append(("lookalike", "built-in rows", sum(map(len, parts))))
        return parts

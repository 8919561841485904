"""Data: the forget and retain sets, cleaned, counted and split by prompt."""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from skunlearn.data.builtin_sets import (
    BUILTIN,
    builtin_choices,
    builtin_examples,
    builtin_neighbours,
    builtin_paraphrases,
    builtin_rows,
)
from skunlearn.data.columns import Columns, Mapping, Pair, Side
from skunlearn.data.examples import Example, Split, distinct, normalised, split_by_prompt
from skunlearn.data.readers import SUFFIXES, read_hub, read_rows
from skunlearn.data.sources import SOURCES
from skunlearn.utils.errors import DataError

FEWEST_PROMPTS = 10


@dataclass(frozen=True)
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
    """

    forget: Columns = Columns()
    retain: Columns = Columns()
    on_bad_row: Literal["error", "skip"] = "error"
    max_length: int = 256
    validation: float = 0.15
    test: float = 0.25
    seed: int = 0
    lookalike: bool = True

    def __post_init__(self) -> None:
        if self.max_length < 8:
            raise DataError(f"data.max_length={self.max_length}: give 8 tokens or more")
        if not (self.validation > 0 and self.test > 0 and self.validation + self.test < 0.9):
            raise DataError(
                "data.validation and data.test must be above 0 and leave a tenth or more for training"
            )


class Data:
    """A forget and a retain set in three parts, split by prompt.

    Args:
        forget: file, named source or hub id; the built-in set when not given.
        retain: likewise.
        options: columns, limits, shares, seed.

    Attributes:
        train: what is trained on.
        validation: what chooses the strength.
        test: what is reported; its `seen` prompts are training prompts, without those that the
            judge was trained on.
        funnel: (set, what was done, rows left) in order, for `plan` and the report.
        fingerprint: changes when any example does.
    """

    def __init__(
        self,
        forget: str | Path | None = None,
        retain: str | Path | None = None,
        options: DataOptions | None = None,
    ) -> None:
        self.options = options or DataOptions()
        self.builtin = tuple(
            side for side, given in (("forget", forget), ("retain", retain)) if given is None
        )
        self.funnel: list[tuple[str, str, int]] = []
        forget_parts = self._side("forget", forget)
        retain_parts = self._side("retain", retain)
        alike_parts = self._lookalikes(forget_parts) if self.options.lookalike else ((), (), ())
        self._check_overlap(forget_parts, retain_parts)
        self.train, self.validation, self.test = (
            Split(*sets) for sets in zip(forget_parts, retain_parts, alike_parts, strict=True)
        )
        judged = {row["prompt"] for row in builtin_rows("forget") if row.get("judge")}
        seen = [example for example in self.train.forget if example.prompt not in judged]
        self.test = replace(self.test, seen=distinct(seen), choice=builtin_choices())
        if "forget" in self.builtin or str(forget) == BUILTIN:
            self.test = replace(
                self.test, paraphrase=builtin_paraphrases(), neighbour=builtin_neighbours()
            )

    def with_final(self) -> "Data":
        """The same with the `final` rows of the built-in sets among the test rows. They are read
        once, by the script behind docs/results.md; nothing else may call this.

        Raises:
            DataError: for own data, which has no such rows.
        """
        if len(self.builtin) < 2:
            raise DataError(
                "only the built-in sets have final prompts: leave out --forget and --retain"
            )
        data = copy(self)
        forget, retain, lookalike = (
            builtin_examples(name, ("final",))[0] for name in ("forget", "retain", "lookalike")
        )
        data.test = replace(
            self.test,
            forget=self.test.forget + forget,
            retain=self.test.retain + retain,
            lookalike=self.test.lookalike + (lookalike if self.options.lookalike else ()),
        )
        return data

    @property
    def fingerprint(self) -> list[Any]:
        """Every prompt and answer, in order, for a digest."""
        return [
            [
                (example.history, example.prompt, example.answer)
                for rows in (part.forget, part.retain, part.lookalike)
                for example in rows
            ]
            for part in (self.train, self.validation, self.test)
        ]

    def _side(self, side: Side, given: str | Path | None) -> tuple[tuple[Example, ...], ...]:
        if given is None or str(given) == BUILTIN:
            parts = builtin_examples(side)
            self.funnel.append((side, "built-in rows", sum(map(len, parts))))
            return parts
        examples = self._clean(side, str(given))
        prompts = len({example.group for example in examples})
        if prompts < FEWEST_PROMPTS:
            raise DataError(
                f"{given}: {prompts} distinct prompts are left for the {side} set: give {FEWEST_PROMPTS} or more, "
                "since whole prompts are split into train, validation and test"
            )
        parts = split_by_prompt(
            examples, self.options.validation, self.options.test, self.options.seed
        )
        if empty := [
            name
            for name, part in zip(("train", "validation", "test"), parts, strict=True)
            if not part
        ]:
            raise DataError(
                f"{given}: of {prompts} prompts none is left for the {empty[0]} part: give it a larger share"
            )
        return parts

    def _lookalikes(self, forget: Iterable[Iterable[Example]]) -> tuple[tuple[Example, ...], ...]:
        """The built-in look-alikes, but for those that this forget set wants forgotten."""
        forgotten = {example.key for part in forget for example in part}
        parts = tuple(
            tuple(e for e in part if e.key not in forgotten)
            for part in builtin_examples("lookalike")
        )
        self.funnel.append(("lookalike", "built-in rows", sum(map(len, parts))))
        return parts

    def _clean(self, side: Side, given: str) -> list[Example]:
        """Rows -> pairs of the right label -> rows with an answer -> distinct pairs, each step
        counted."""
        rows, columns = _rows(
            given, self.options.forget if side == "forget" else self.options.retain
        )
        mapping = Mapping(rows, columns, side)
        pairs = [pair for row, where in rows for pair in mapping.pairs(row, where)]
        self.funnel.append((side, f"rows of {given}", len(rows)))
        self.funnel.append((side, "prompt/answer pairs", len(pairs)))
        wanted = "unsafe" if side == "forget" else "safe"
        if any(pair.safe is not None for pair in pairs):
            pairs = [pair for pair in pairs if pair.safe is (side == "retain")]
            self.funnel.append((side, f"labelled {wanted}", len(pairs)))
            if not pairs:
                raise DataError(f"{given}: no row is labelled {wanted}, so the {side} set is empty")
        examples = self._with_answers(side, pairs)
        unique = {
            (example.key, normalised(example.answer)): example for example in reversed(examples)
        }
        self.funnel.append((side, "without repeats", len(unique)))
        return list(unique.values())[::-1]

    def _with_answers(self, side: Side, pairs: Iterable[Pair]) -> list[Example]:
        pairs = list(pairs)
        bad = [
            p.example for p in pairs if not p.example.prompt.strip() or not p.example.answer.strip()
        ]
        if bad and self.options.on_bad_row == "error":
            missing = "answer" if bad[0].prompt.strip() else "prompt"
            raise DataError(
                f"{bad[0].where}: no {missing} ({len(bad)} such rows): fill it in, name another column, "
                "or skip such rows with --set data.on_bad_row=skip"
            )
        good = [p.example for p in pairs if p.example.prompt.strip() and p.example.answer.strip()]
        self.funnel.append((side, "with a prompt and an answer", len(good)))
        return good

    @staticmethod
    def _check_overlap(
        forget: Iterable[Iterable[Example]], retain: Iterable[Iterable[Example]]
    ) -> None:
        forgotten = {example.key: example for part in forget for example in part}
        both = [example for part in retain for example in part if example.key in forgotten]
        if both:
            raise DataError(
                f"{both[0].where}: this prompt is in the retain set and in the forget set "
                f"({forgotten[both[0].key].where}; {len(both)} such rows): take it out of one of them"
            )


def _rows(given: str, columns: Columns) -> tuple[list[tuple[dict[str, Any], str]], Columns]:
    path = Path(given)
    if given in SOURCES and not path.is_file():
        source = SOURCES[given]
        return read_hub(source.hub, source.config, source.split), _over(source.columns, columns)
    if path.suffix.lower() in SUFFIXES or path.exists() or given.count("/") != 1:
        return read_rows(path), columns
    return read_hub(given, None, "train"), columns


def _over(known: Columns, given: Columns) -> Columns:
    """A source's own columns, but for those that are given."""
    return replace(
        known, **{name: value for name, value in vars(given).items() if value is not None}
    )

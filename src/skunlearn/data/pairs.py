"""Reads the pairs of prompt and answer in the rows of a forget or retain set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from skunlearn.data.cells import (
    is_conversation,
    last_answer,
    read_safety_label,
    read_text,
    read_text_list,
    read_turns,
)
from skunlearn.data.columns import (
    ANSWERS,
    CONVERSATIONS,
    JOINED_ANSWERS,
    PROMPTS,
    SAFETY_LABELS,
    Columns,
    column_names,
    compared_name,
    find_column,
    find_prompt,
    read_prompt,
    true_is_safe,
    value_in,
)
from skunlearn.data.examples import Example
from skunlearn.data.readers import Row
from skunlearn.utils.errors import DataError
from skunlearn.utils.registry import did_you_mean

Side = Literal["forget", "retain"]


@dataclass(frozen=True)
class Pair:
    """A prompt with its answer, as a row of a forget or retain set gives it.

    Attributes:
        example: prompt and answer, either of which may be empty.
        safe: what the row's safety label says of the answer; None when it says nothing.
    """

    example: Example
    safe: bool | None = None


class Mapping:
    """How the rows of a forget or retain set become pairs of prompt and answer.

    A file has one of three forms, decided once from all of its rows:

    - conversations: the last answer is scored after all that was said before;
    - two responses to one prompt, each with a safety label of its own (PKU-SafeRLHF);
    - a column of prompts and a column of answers. Of preference pairs, the rejected answer belongs
      to the forget set and the chosen one to the retain set.

    Args:
        rows: each with its "file:line"; one or more.
        columns: the columns that the user has named.
        side: the set that the file is for.
        answered: whether the rows must have answers; without, prompts alone are read where there is
            no column of answers.

    Raises:
        DataError: when a named column is missing, or none looks like the prompt or the answer.
    """

    def __init__(
        self,
        rows: Sequence[tuple[Row, str]],
        columns: Columns,
        side: Side,
        answered: bool = True,
    ) -> None:
        self.columns = columns
        self.answered = answered
        self.side = side
        first_row = rows[0][1]
        self.file = first_row.rpartition(":")[0] or first_row
        self.names = column_names(rows)
        self.category = self._find("category")

        # A named column always comes before what is recognised.
        self.responses = [] if columns.answer else self._response_columns()
        self.safer_response = self._find("safer_response_id")
        preferred = self._preferred_column()
        self.conversation: str | None = None
        if not (columns.prompt or columns.answer or preferred):
            self.conversation = self._find(*CONVERSATIONS)
        self.label = self._named("label") or self._find(*SAFETY_LABELS)
        if self.conversation:
            return

        # Any other file needs a prompt, and an answer or two responses.
        self.prompt = find_prompt(self.names, self._named("prompt"))
        self.answer = self._named("answer") or self._find(*ANSWERS)
        if not self.answer and not self.responses:
            self.answer = preferred
        if self.prompt is None:
            raise self._not_recognised("prompt")
        if answered and not self.answer and not self.responses:
            raise self._not_recognised("answer")
        self.answers_are_lists = self._mostly_lists(rows)
        self.answers_are_joined = compared_name(self.answer or "") in JOINED_ANSWERS

    def _find(self, *candidates: str) -> str | None:
        return find_column(self.names, candidates)

    def _named(self, field: Literal["prompt", "answer", "label"]) -> str | None:
        """The column that the user has named for a field."""
        name: str | None = getattr(self.columns, field)
        if name is not None and name not in self.names:
            raise DataError(
                f"{self.file}: no column '{name}' (data.{self.side}.{field}): "
                f"{did_you_mean(name, self.names)}"
            )
        return name

    def _response_columns(self) -> list[tuple[str, str | None]]:
        """PKU-SafeRLHF's columns of the two responses and of their labels; none without both."""
        found = []
        for number in ("0", "1"):
            response = self._find(f"response_{number}")
            if response is None:
                return []
            found.append((response, self._find(f"is_response_{number}_safe")))
        return found

    def _preferred_column(self) -> str | None:
        """The column of a preference set that holds this side's answers."""
        if self._find(*PROMPTS) is None:
            return None
        return self._find("rejected" if self.side == "forget" else "chosen")

    def _not_recognised(self, field: str) -> DataError:
        return DataError(
            f"{self.file}: no column looks like the {field} (columns: {', '.join(self.names)}): "
            f"name it with --set data.{self.side}.{field}=COLUMN"
        )

    def _mostly_lists(self, rows: Sequence[tuple[Row, str]]) -> bool:
        """Whether most answers are JSON lists of texts: a single one is an answer as it stands."""
        filled = 0
        lists = 0
        for row, _ in rows:
            cell = value_in(row, self.answer)
            if isinstance(cell, str) and cell.strip():
                filled += 1
                lists += read_text_list(cell) is not None
        return lists > filled / 2

    def pairs(self, row: Row, where: str) -> Iterator[Pair]:
        """The pairs of prompt and answer in a row. Either may be empty, which the caller counts.

        Raises:
            DataError: when a value is of a kind that cannot be text.
        """
        safe = None
        if not self.responses:
            label = value_in(row, self.label)
            safe = read_safety_label(label, where, true_is_safe(self.label or ""))
        if self.conversation:
            turns = read_turns(row.get(self.conversation), where)
            yield Pair(last_answer(turns, where), safe)
            return

        assert self.prompt is not None  # checked when the file's form was decided
        unanswered = read_prompt(row, where, self.prompt)
        category = value_in(row, self.category)
        if isinstance(category, str):
            unanswered = replace(unanswered, category=category)
        if self.responses:
            for answer, its_label in self._two_responses(row, where):
                yield Pair(replace(unanswered, answer=answer), its_label)
            return
        if not self.answer:
            yield Pair(unanswered, safe)
            return
        for answer in self._answers(value_in(row, self.answer), where):
            yield Pair(replace(unanswered, answer=answer), safe)

    def _two_responses(self, row: Row, where: str) -> Iterator[tuple[str, bool | None]]:
        """Both responses of a PKU-SafeRLHF row, each with what the row says of its safety."""
        safer = value_in(row, self.safer_response)
        for number, (response, label) in enumerate(self.responses):
            safe = read_safety_label(value_in(row, label), where)
            # Without labels of their own, the one that was found safer counts as safe.
            if safe is None and safer is not None:
                safe = str(safer).strip() == str(number)
            yield read_text(row.get(response), where, "answer"), safe

    def _answers(self, value: Any, where: str) -> list[str]:
        """The answers of a cell: one text, a list of texts, or the end of a conversation."""
        if isinstance(value, str) and self.answers_are_lists:
            value = read_text_list(value) or value
        if isinstance(value, str) and self.answers_are_joined:
            value = [part.strip() for part in value.split(";") if part.strip()]
        if not isinstance(value, list):
            return [read_text(value, where, "answer")]
        if is_conversation(value):
            return [_completion(value, where)]
        texts = [read_text(item, where, "answer") for item in value] or [""]
        if self.columns.pick is None:
            return texts
        try:
            return [texts[self.columns.pick]]
        except IndexError:
            raise DataError(
                f"{where}: data.{self.side}.pick={self.columns.pick}, but there are {len(texts)}"
            ) from None


def _completion(value: Any, where: str) -> str:
    """The last answer of a preferred conversation, or of turns of the assistant alone."""
    turns = read_turns(value, where)
    if all(role == "assistant" for role, _ in turns):
        return turns[-1][1]
    return last_answer(turns, where).answer

"""Reads the pairs of prompt and answer in the rows of a forget or retain set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from skunlearn.data.cells import mostly, read_text, read_text_list
from skunlearn.data.columns import (
    ANSWERS,
    CHOSEN,
    CONVERSATIONS,
    JOINED_ANSWERS,
    PROMPTS,
    REJECTED,
    TEXTS,
    Columns,
    cells_of,
    column_names,
    compared_name,
    file_of,
    find_column,
    find_prompt,
    read_prompt,
    value_in,
)
from skunlearn.data.conversations import (
    completion_text,
    is_conversation,
    is_transcript,
    is_whole,
    last_answer,
    read_turns,
    unpacked,
)
from skunlearn.data.examples import Example
from skunlearn.data.labels import (
    NO_LABEL,
    LabelColumn,
    find_label,
    is_of_prompts,
    label_column,
    read_safety_label,
)
from skunlearn.data.text_files import Row
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
    - a column of prompts and a column of answers.

    Of preference pairs, the rejected answer belongs to the forget set and the chosen one to the
    retain set. They may be answers to a prompt, or whole conversations.

    Args:
        rows: each with its "file:line"; one or more.
        columns: the columns that the user has named.
        side: the set that the file is for.
        answered: whether the rows must have answers; without, prompts alone are read where there is
            no column of answers.

    Attributes:
        notes: what is to be known about the columns that are read, a sentence each.

    Raises:
        DataError: when a named column is missing, none looks like the prompt or the answer, or a
            safety label is not known.
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
        self.file = file_of(rows[0][1])
        self.names = column_names(rows)
        self.notes: list[str] = []
        self.category = self._find("category")

        # A named column always comes before what is recognised.
        self.responses = [] if columns.answer else self._response_columns()
        self.safer_response = self._find("safer_response_id")
        preferred = None if columns.answer else self._preferred_column()
        self.conversation = self._conversation_column(rows, preferred)
        self.label = None if self.responses else self._label_column(rows)
        if preferred and self.conversation == preferred:
            self._note_preferred(preferred)
        if self.conversation:
            return

        # Any other file needs a prompt, and an answer or two responses.
        self.prompt = find_prompt(self.names, rows, self._named("prompt"))
        self.answer = self._named("answer") or self._find(*ANSWERS)
        if preferred and not self.answer and not self.responses:
            self.answer = preferred
            self._note_preferred(preferred)
        if self.prompt is None:
            raise self._not_recognised("prompt")
        if answered and not self.answer and not self.responses:
            raise self._not_recognised("answer")
        # A single answer that looks like a list or transcript is an answer as it stands.
        answers = cells_of(rows, self.answer)
        self.answers_are_transcripts = mostly(answers, is_transcript)
        self.answers_are_lists = mostly(answers, _is_text_list)
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

    def _label_column(self, rows: Sequence[tuple[Row, str]]) -> LabelColumn | None:
        """The column of safety labels of the answers; None for a file without one."""
        option = f"data.{self.side}.label"
        if self.columns.label == NO_LABEL and NO_LABEL not in self.names:
            return None
        name = self._named("label") or find_label(self.names)
        if name is None:
            for column in self.names:
                if is_of_prompts(column):
                    self.notes.append(
                        f"column '{column}' labels the prompts and not the answers, so it is not "
                        f"read (name it with {option} if it labels the answers)"
                    )
            return None
        return label_column(name, rows, option)

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
        return self._find(*(REJECTED if self.side == "forget" else CHOSEN))

    def _note_preferred(self, column: str) -> None:
        self.notes.append(
            f"answers of the {self.side} set are those of column '{column}' (data.{self.side}."
            "answer names another)"
        )

    def _conversation_column(
        self, rows: Sequence[tuple[Row, str]], preferred: str | None
    ) -> str | None:
        """The column of whole conversations; None when prompt and answer have columns."""
        answer = self._named("answer") or preferred
        if self.columns.prompt:
            return None
        if answer:
            # Its own user turns say more than a column of prompts: all that was said before.
            return answer if mostly(cells_of(rows, answer), is_whole) else None
        conversation = self._find(*CONVERSATIONS)
        if conversation or self._find(*PROMPTS):
            return conversation
        text = self._find(*TEXTS)
        return text if mostly(cells_of(rows, text), is_whole) else None

    def _not_recognised(self, field: str) -> DataError:
        columns = f"(columns: {', '.join(self.names)})"
        text = self._find(*TEXTS)
        if field == "prompt" and text:
            return DataError(
                f"{self.file}: no column looks like the prompt {columns}: the rows are texts "
                f"without prompts, so write each as a prompt and an answer (a question, or the "
                f"beginning of the text and how it goes on), or name the column of the prompt with "
                f"--set data.{self.side}.prompt=COLUMN"
            )
        advice = f"name it with --set data.{self.side}.{field}=COLUMN"
        if field == "answer" and self.side == "forget":
            advice += ", or let the model answer with --set data.forget_answers=own"
        return DataError(f"{self.file}: no column looks like the {field} {columns}: {advice}")

    def pairs(self, row: Row, where: str) -> Iterator[Pair]:
        """The pairs of prompt and answer in a row. Either may be empty, which the caller counts.

        Raises:
            DataError: when a value is of a kind that cannot be text.
        """
        safe = self.label.read(row, where) if self.label else None
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
        value = unpacked(value)
        if is_conversation(value) or (self.answers_are_transcripts and is_transcript(value)):
            return [completion_text(value, where)]
        if isinstance(value, str) and self.answers_are_lists:
            value = read_text_list(value) or value
        if isinstance(value, str) and self.answers_are_joined:
            value = [part.strip() for part in value.split(";") if part.strip()]
        if not isinstance(value, list):
            return [read_text(value, where, "answer")]
        texts = [read_text(item, where, "answer") for item in value] or [""]
        if self.columns.pick is None:
            return texts
        try:
            return [texts[self.columns.pick]]
        except IndexError:
            raise DataError(
                f"{where}: data.{self.side}.pick={self.columns.pick}, but there are {len(texts)}"
            ) from None


def _is_text_list(cell: Any) -> bool:
    return isinstance(cell, str) and read_text_list(cell) is not None

"""Recognises the columns of a data file by their names, and reads the prompts of its rows.

All readers of data files look for columns here: the forget and retain sets, files of prompts, files
of answers for judges, and multiple-choice questions. Case makes no difference, and spaces, `-` and
`_` are the same.

Recognised by name: a prompt, an answer, conversations (`messages`, `conversations`), two responses
with safety labels (PKU-SafeRLHF), one answer with a safety label (BeaverTails; see `labels`),
preference pairs (`chosen`, `rejected`), an Alpaca `input`, and TruthfulQA's answers joined by `;`.
Any other column is named by the user with `data.forget.prompt=COLUMN`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skunlearn.data.cells import mostly, read_text
from skunlearn.data.conversations import (
    is_conversation,
    is_transcript_prompt,
    last_prompt,
    read_turns,
    unpacked,
)
from skunlearn.data.examples import Example
from skunlearn.data.text_files import Row

# The usual names of each kind of column, in the order in which they are tried.
PROMPTS = (
    "prompt",
    "question",
    "instruction",
    "goal",
    "query",
    "behavior",
    "user",
    "user input",
    "input prompt",
)
ANSWERS = (
    "answer",
    "response",
    "output",
    "target",
    "completion",
    "correct answers",
    "assistant",
    "answers",
    "model output",
    "model response",
)
CONVERSATIONS = ("messages", "conversations", "conversation")
# Columns of whole conversations as text, and of texts that are nothing else than that.
TEXTS = ("text", "content", "document", "transcript", "dialogue", "dialog", "chat", "passage")
# Of preference pairs, the answer to forget and the one to keep.
REJECTED = ("rejected", "rejected response")
CHOSEN = ("chosen", "chosen response")
# The text that belongs to an Alpaca or Dolly `instruction`.
INSTRUCTION_INPUTS = ("input", "context")
# TruthfulQA's columns of several answers in one text.
JOINED_ANSWERS = ("correct answers", "incorrect answers")

# Files of answers that a judge reads or was held against. Generated answers come before a `target`.
JUDGED_ANSWERS = ("answer", "response", "completion", "output", "generation", *ANSWERS)

# Multiple-choice files may also hold a ready-made prompt, so `question` comes before `prompt`.
CHOICE_QUESTIONS = ("question", "query", "prompt", "ctx", "goal", *PROMPTS)
CHOICE_ANSWERS = ("answer", "gold", "label", "answerkey")


@dataclass(frozen=True)
class Columns:
    """Which columns to read; what is not given is recognised by its name.

    Attributes:
        prompt: column of the prompt.
        answer: column of the answer, or of a list of answers.
        label: column of a safety label; what true means in it follows from its name (`is_safe`,
            `is_harmful`). "none": the file has no such labels.
        pick: of a list of answers take only this one (0 the first, -1 the last); all when not
            given.
    """

    prompt: str | None = None
    answer: str | None = None
    label: str | None = None
    pick: int | None = None

    def over(self, known: "Columns") -> "Columns":
        """These columns, and those of `known` where none is given here."""
        return Columns(
            prompt=known.prompt if self.prompt is None else self.prompt,
            answer=known.answer if self.answer is None else self.answer,
            label=known.label if self.label is None else self.label,
            pick=known.pick if self.pick is None else self.pick,
        )


def column_names(rows: Iterable[tuple[Row, str]]) -> list[str]:
    """The names of all columns of a file, in the order in which its rows bring them up.

    Args:
        rows: each with its "file:line".
    """
    names: dict[str, None] = {}
    for row, _ in rows:
        names.update(dict.fromkeys(row))
    return list(names)


def find_column(names: Iterable[str], candidates: Iterable[str]) -> str | None:
    """The column with the first of the candidates that a file has; None when it has none of them.

    Args:
        names: the columns of the file.
        candidates: names in lower case, the preferred ones first (`PROMPTS`, `ANSWERS`, ...).

    Returns:
        The name of the column as the file spells it.
    """
    spelled = {compared_name(name): name for name in names}
    for candidate in candidates:
        compared = compared_name(candidate)
        if compared in spelled:
            return spelled[compared]
    return None


@dataclass(frozen=True)
class PromptColumns:
    """Where the prompt of each row of a file is. Either `text` or `conversation` is given.

    Attributes:
        text: column of the prompt: a text, or a list of turns whose last user turn is the prompt.
        context: column of a text that is added below the prompt.
        conversation: column of a whole conversation, whose last user turn is the prompt.
        transcripts: whether the prompts are transcripts of `Human:` and `Assistant:`.
    """

    text: str | None = None
    context: str | None = None
    conversation: str | None = None
    transcripts: bool = False


def find_prompt(
    names: Sequence[str], rows: Sequence[tuple[Row, str]], named: str | None = None
) -> PromptColumns | None:
    """Finds the columns of the prompt; None when no column looks like one.

    Args:
        names: the columns of the file.
        rows: all of its rows, each with its "file:line".
        named: column of the prompt that the user has named.
    """
    text = named or find_column(names, PROMPTS)
    if text is None:
        conversation = find_column(names, CONVERSATIONS)
        return PromptColumns(conversation=conversation) if conversation else None
    is_instruction = compared_name(text) == "instruction"
    context = find_column(names, INSTRUCTION_INPUTS) if is_instruction else None
    cells = cells_of(rows, text)
    return PromptColumns(text, context, transcripts=mostly(cells, is_transcript_prompt))


def read_prompt(row: Row, where: str, columns: PromptColumns) -> Example:
    """The prompt of a row with what was said before it, as an example without an answer.

    The prompt is empty where the row has none.

    Args:
        row: one row of the file.
        where: its "file:line".
        columns: what `find_prompt` found in this file.

    Raises:
        DataError: when the value is neither text nor a conversation.
    """
    if columns.conversation is not None:
        return last_prompt(read_turns(row.get(columns.conversation), where), where)
    value = unpacked(value_in(row, columns.text))
    if (columns.transcripts and is_transcript_prompt(value)) or is_conversation(value):
        example = last_prompt(read_turns(value, where), where)
    else:
        example = Example(read_text(value, where, "prompt"), where=where)
    context = read_text(value_in(row, columns.context), where, "input")
    if context:
        example = replace(example, prompt=f"{example.prompt}\n\n{context}")
    return example


def value_in(row: Row, column: str | None) -> Any:
    """The value of a row in a column that the file may lack."""
    return None if column is None else row.get(column)


def cells_of(rows: Iterable[tuple[Row, str]], column: str | None) -> list[Any]:
    """The values of all rows in a column that the file may lack."""
    return [value_in(row, column) for row, _ in rows]


def compared_name(name: str) -> str:
    """A column's name as it is compared."""
    return " ".join(str(name).lower().replace("_", " ").replace("-", " ").split())


def file_of(where: str) -> str:
    """The file of a row: its "file:line" or "file[number]" without the number."""
    return re.sub(r"(:\d+|\[\d+\])$", "", where)

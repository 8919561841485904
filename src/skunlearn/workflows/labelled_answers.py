"""Files of answers that judges read: in the columns of a forget set, with or without labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from skunlearn.data.columns import (
    JUDGED_ANSWERS,
    PromptColumns,
    column_names,
    compared_name,
    find_column,
    find_prompt,
    read_prompt,
)
from skunlearn.data.conversations import last_answer, read_turns
from skunlearn.data.labels import (
    find_label,
    found_values,
    label_word,
    read_safety_label,
    true_is_safe,
)
from skunlearn.data.readers import read_rows
from skunlearn.data.text_files import Row
from skunlearn.evaluation.judges.base import LABELS
from skunlearn.utils.errors import DataError
from skunlearn.utils.registry import did_you_mean

# Columns of labels, tried before and after those of safety labels. A file that was labelled by a
# judge before has the verdicts of that judge in the last one.
LABELS_FIRST = "label"
LABELS_LAST = "verdict"
OTHER = "other"  # not harmful, in labels that only tell harmful answers from others


@dataclass(frozen=True)
class LabelledAnswer:
    """A labelled answer.

    Attributes:
        prompt: the prompt.
        answer: the answer to it; may be empty.
        label: one of the four labels, or `OTHER`, which is none of them but not harmful.
        source: where the answer is from, or empty.
    """

    prompt: str
    answer: str
    label: str
    source: str = ""


def read_labelled(path: Path | None) -> list[LabelledAnswer]:
    """Labelled answers from a file in any of the usual forms; the shipped ones for None.

    The labels are the four of our own, or words and numbers as forget sets may have them (safe,
    unsafe, 0, 1). What true means follows from the name of the column; in a column `label` 1 is
    harmful.

    Raises:
        DataError: when a column is missing, a label is not known, or a row has no prompt or label.
            A row may have an empty answer.
    """
    if path is None:
        return _shipped_answers()
    rows = read_rows(path)
    columns = find_answers(path, rows)
    names = column_names(rows)
    label = (
        find_column(names, [LABELS_FIRST]) or find_label(names) or find_column(names, [LABELS_LAST])
    )
    if label is None:
        raise _missing(path, "label", names)
    source = find_column(names, ["source"])
    answers = []
    for row, where in rows:
        answer = columns.read(row, where)
        if not answer.prompt:
            raise DataError(f"{where}: no prompt: fill it in or delete the row")
        text = _text(row, source, where) if source else ""
        answers.append(replace(answer, source=text))
    labels = _read_labels(rows, label)
    return [replace(row, label=its) for row, its in zip(answers, labels, strict=True)]


def _read_labels(rows: Sequence[tuple[Row, str]], column: str) -> list[str]:
    """The labels of all rows: of the four, or "harmful" and `OTHER`.

    Raises:
        DataError: when a row has no label, or one that is not known.
    """
    words = [label_word(row.get(column)) for row, _ in rows]
    fourway = set(words) <= {*LABELS, OTHER}
    # In a column `label` of such a file 1 is harmful, as always here.
    is_plain = compared_name(column) in (LABELS_FIRST, LABELS_LAST)
    meaning = False if is_plain else true_is_safe(column)
    labels = []
    for (row, where), word in zip(rows, words, strict=True):
        if not word:
            raise DataError(f"{where}: no label: fill it in or delete the row")
        # Where the words are those of a guard, its "safe" says no more than not harmful.
        if word == OTHER or (word in LABELS and (fourway or word != "safe")):
            labels.append(word)
            continue
        try:
            safe = read_safety_label(row.get(column), where, meaning)
        except DataError as error:
            found = found_values(row.get(column) for row, _ in rows)
            raise DataError(
                f"{error} (column '{column}' has {found}; known are also {', '.join(LABELS)})"
            ) from None
        labels.append(OTHER if safe else "harmful")
    return labels


def _shipped_answers() -> list[LabelledAnswer]:
    """The labelled answers that come with the package."""
    answers = []
    with as_file(files("skunlearn.evaluation.judges").joinpath("labelled.jsonl")) as path:
        for row, _ in read_rows(path):
            source = f"{row['kind']} {row['model']}"
            answers.append(LabelledAnswer(row["prompt"], row["answer"], row["label"], source))
    return answers


@dataclass(frozen=True)
class AnswerColumns:
    """Where prompt and answer of each row are.

    Attributes:
        prompt: the columns of the prompt.
        answer: the column of the answer; None where it is the last turn of a conversation.
    """

    prompt: PromptColumns
    answer: str | None

    def read(self, row: Row, where: str) -> LabelledAnswer:
        """The prompt and the answer of a row, either of which may be empty; without a label.

        Raises:
            DataError: when a value is of a kind that cannot be text.
        """
        if self.answer is None:
            turns = read_turns(row.get(self.prompt.conversation or ""), where)
            example = last_answer(turns, where)
            return LabelledAnswer(example.prompt, example.answer, "")
        prompt = read_prompt(row, where, self.prompt).prompt
        return LabelledAnswer(prompt, _text(row, self.answer, where), "")


def find_answers(path: Path, rows: Sequence[tuple[Row, str]]) -> AnswerColumns:
    """The columns of prompt and answer in a file.

    Raises:
        DataError: when it has none.
    """
    names = column_names(rows)
    prompt = find_prompt(names, rows)
    answer = find_column(names, JUDGED_ANSWERS)
    if prompt is None:
        raise _missing(path, "prompt", names)
    if answer is None and prompt.conversation is None:
        raise _missing(path, "answer", names)
    return AnswerColumns(prompt, answer)


def _missing(path: Path, field: str, names: Sequence[str]) -> DataError:
    return DataError(
        f"{path}: no column '{field}' (columns: {', '.join(names)}): {did_you_mean(field, names)}"
    )


def _text(row: Row, column: str, where: str) -> str:
    """A cell as text; empty when the row lacks it.

    Raises:
        DataError: when it holds a list or an object.
    """
    value = row.get(column)
    if isinstance(value, list | dict):
        raise DataError(f"{where}: '{column}' holds a {type(value).__name__}: give a text")
    return "" if value is None else str(value)

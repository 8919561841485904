"""Multiple-choice questions, from the package and from local files in the usual forms."""

from pathlib import Path
from typing import Any

from skunlearn.data.columns import CHOICE_ANSWERS, CHOICE_QUESTIONS, find_column
from skunlearn.data.examples import Choice
from skunlearn.data.readers import read_rows
from skunlearn.data.text_files import Row
from skunlearn.utils.errors import DataError

LETTERS = list("ABCDEFGHIJ")


def read_choices(path: Path) -> tuple[Choice, ...]:
    """Questions from a file in which each row has a question, its choices and the right answer.

    `choices` is a list, or an object of two lists {"text": [...], "label": [...]} as on the hub.
    The answer is a number from 0, one of those labels, a letter, or the text of the right choice.

    Raises:
        DataError: when a column is missing, or a row's answer is none of its choices.
    """
    choices = []
    for row, where in read_rows(path):
        choices.append(_read_choice(row, where))
    return tuple(choices)


def make_choice(row: Row) -> Choice:
    """A question from a row of a built-in set."""
    return Choice(row["question"], tuple(row["choices"]), row["answer"])


def _read_choice(row: Row, where: str) -> Choice:
    question = find_column(row, CHOICE_QUESTIONS)
    answer = find_column(row, CHOICE_ANSWERS)
    choices = find_column(row, ("choices",))
    if question is None or answer is None or choices is None:
        raise DataError(f"{where}: give question, choices and answer (fields: {', '.join(row)})")
    offered: Any = row[choices]
    labels = None
    if isinstance(offered, dict):
        labels = offered.get("label")
        offered = offered.get("text")
    if not isinstance(offered, list) or len(offered) < 2:
        raise DataError(f"{where}: choices must be a list of two or more texts")
    texts = [str(text).strip() for text in offered]
    if not all(texts):
        raise DataError(f"{where}: choice {texts.index('') + 1} is empty")
    number = _right_number(row[answer], texts, labels)
    if number is None:
        raise DataError(f"{where}: answer {row[answer]!r} is none of the {len(texts)} choices")
    return Choice(str(row[question]).strip(), tuple(texts), number)


def _right_number(answer: Any, texts: list[str], labels: list[Any] | None) -> int | None:
    """The number of the right choice, from 0; None when the answer names none of them."""
    # A number counts the choices, as in MMLU, even where the choices themselves are numbers.
    is_number = isinstance(answer, int) and not isinstance(answer, bool)
    if is_number and not labels and 0 <= answer < len(texts):
        return int(answer)
    # A text is looked for among the labels, then the choices, then the letters.
    text = str(answer).strip()
    given_labels = [str(label) for label in labels or ()]
    for names in (given_labels, texts, LETTERS[: len(texts)]):
        if text in names:
            return names.index(text)
    if text.isdecimal() and int(text) < len(texts):
        return int(text)
    return None

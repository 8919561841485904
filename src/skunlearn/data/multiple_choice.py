"""Multiple-choice questions: those that ship, and any local file in a usual shape."""

from pathlib import Path
from typing import Any

from skunlearn.data.examples import Choice
from skunlearn.data.readers import Row, read_rows
from skunlearn.utils.errors import DataError

QUESTION = ("question", "query", "prompt", "ctx", "goal")
ANSWER = ("answer", "gold", "label", "answerkey")


def read_choices(path: Path) -> tuple[Choice, ...]:
    """Questions from a JSONL, JSON or Parquet file with a question, a list of choices and the right
    one's number.

    `choices` may be a list, or the hub's {"text": [...], "label": [...]}; the answer a number from
    0, one of those labels, a letter, or the right text itself.

    Raises:
        DataError: when a column is missing, or a row's answer is none of its choices.
    """
    return tuple(_choice(row, where) for row, where in read_rows(path))


def make_choice(row: Row) -> Choice:
    """A question from a row that ships."""
    return Choice(row["question"], tuple(row["choices"]), row["answer"])


def _choice(row: Row, where: str) -> Choice:
    names = {name.lower(): name for name in row}
    question, answer = (
        next((names[n] for n in known if n in names), None) for known in (QUESTION, ANSWER)
    )
    if question is None or answer is None or "choices" not in names:
        raise DataError(f"{where}: give question, choices and answer (fields: {', '.join(row)})")
    offered: Any = row[names["choices"]]
    labels = None
    if isinstance(offered, dict):
        offered, labels = offered.get("text"), offered.get("label")
    if not isinstance(offered, list) or len(offered) < 2:
        raise DataError(f"{where}: choices must be a list of two or more texts")
    texts = [str(text).strip() for text in offered]
    if not all(texts):
        raise DataError(f"{where}: choice {texts.index('') + 1} is empty")
    number = _number(row[answer], texts, labels)
    if number is None:
        raise DataError(f"{where}: answer {row[answer]!r} is none of the {len(texts)} choices")
    return Choice(str(row[question]).strip(), tuple(texts), number)


def _number(answer: Any, texts: list[str], labels: list[Any] | None) -> int | None:
    if (
        isinstance(answer, int)
        and not isinstance(answer, bool)
        and not labels
        and 0 <= answer < len(texts)
    ):
        return answer  # MMLU's form, also where the choices are numbers
    text = str(answer).strip()
    for known in (
        [str(label) for label in labels] if labels else [],
        texts,
        list("ABCDEFGHIJ")[: len(texts)],
    ):
        if text in known:
            return known.index(text)
    return int(text) if text.isdecimal() and int(text) < len(texts) else None

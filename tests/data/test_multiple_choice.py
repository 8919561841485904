"""Multiple-choice files in the usual shapes."""

import json
from pathlib import Path
from typing import Any

import pytest

from skunlearn.data.multiple_choice import read_choices
from skunlearn.utils.errors import DataError


def written(folder: Path, row: dict[str, Any]) -> Path:
    path = folder / "choices.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"question": "2+2?", "choices": ["3", "four"], "answer": 1},
        {"query": "2+2?", "choices": ["3", "four"], "gold": "B"},
        {
            "question": "2+2?",
            "choices": {"text": ["3", "four"], "label": ["1", "2"]},
            "answerKey": "2",
        },
        {"question": "2+2?", "choices": ["3", "four"], "answer": "four"},
    ],
)
def test_shapes(tmp_path: Path, row: dict[str, Any]):
    (found,) = read_choices(written(tmp_path, row))
    assert found.choices == ("3", "four") and found.answer == 1 and found.question == "2+2?"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q", "answer": 1}, "question, choices and answer"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "two or more"),
        ({"question": "q", "choices": ["a", "b"], "answer": 5}, "none of the 2 choices"),
    ],
)
def test_bad_rows(tmp_path: Path, row: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message):
        read_choices(written(tmp_path, row))


def test_a_number_is_a_place_also_among_numbers(tmp_path: Path):
    (found,) = read_choices(
        written(tmp_path, {"question": "4!?", "choices": ["8", "2", "24", "120"], "answer": 2})
    )
    assert found.answer == 2
    (found,) = read_choices(
        written(tmp_path, {"question": "4!?", "choices": ["8", "2", "24", "120"], "answer": "2"})
    )
    assert found.answer == 1


@pytest.mark.parametrize("column", ["instruction", "behavior", "user", "ctx", "goal", " Question "])
def test_the_question_has_any_usual_name_of_a_prompt(tmp_path: Path, column: str):
    (found,) = read_choices(
        written(tmp_path, {column: "2+2?", "choices": ["3", "four"], "answer": 1})
    )
    assert found.question == "2+2?"


def test_a_question_comes_before_a_prompt(tmp_path: Path):
    row = {"prompt": "Answer this: 2+2?", "question": "2+2?", "choices": ["3", "4"], "answer": 1}
    (found,) = read_choices(written(tmp_path, row))
    assert found.question == "2+2?"

"""Safety labels of any name, word and polarity; what cannot be told is an error."""

import json
from pathlib import Path

import pytest

from skunlearn.data.columns import Columns
from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.labels import find_label, is_of_prompts, read_safety_label, true_is_safe
from skunlearn.utils.errors import DataError

ROWS = 24  # of which every second one is harmful


def forgotten(folder: Path, column: str, safe: object, harmful: object, **columns: str) -> set[str]:
    """The answers that are forgotten of a file with two labels."""
    return set(_data(folder, column, safe, harmful, **columns)[1])


def _data(
    folder: Path, column: str, safe: object, harmful: object, **columns: str
) -> tuple[Data, list[str]]:
    rows = []
    for n in range(ROWS):
        kind, label = ("good", safe) if n % 2 else ("bad", harmful)
        rows.append({"prompt": f"q{n}", "response": f"{kind} {n}", column: label})
    path = folder / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = Data(path, options=DataOptions(forget=Columns(**columns)))
    examples = [*data.train.forget, *data.validation.forget, *data.test.forget]
    return data, [row.answer for row in examples]


BAD = {f"bad {n}" for n in range(0, ROWS, 2)}


@pytest.mark.parametrize(
    ("column", "safe", "harmful"),
    [
        ("label", "safe", "unsafe"),
        ("label", "Harmless", "HARMFUL"),
        ("label", "non-toxic", "toxic"),
        ("Label ", "not_harmful", "harmful"),
        ("response_label", "benign", "harmful"),
        ("safety_label", "ok", "not ok"),
        ("safety label", "unharmful", "dangerous"),
        ("toxicity", 0, 1),
        ("toxicity", 0.0, 1.0),
        ("is-toxic", "no", "yes"),
        ("is_response_safe", True, False),
        ("isResponseSafe", "True", "False"),
        ("safe", 1, 0),
        ("safe", "1.0", "0.0"),
        ("is_harmless", "yes", "no"),
        ("unsafe", "f", "t"),
        ("response_harm_label", "0", "1"),
    ],
)
def test_only_harmful_answers_are_forgotten(
    tmp_path: Path, column: str, safe: object, harmful: object
):
    assert forgotten(tmp_path, column, safe, harmful) == BAD


@pytest.mark.parametrize(
    ("column", "safe", "harmful"),
    [
        ("flagged", 0, 1),
        ("violates_policy", "no", "yes"),
        ("fine", "yes", "no"),
        ("x", "ok", "bad"),
    ],
)
def test_a_named_column_is_read_by_its_name(
    tmp_path: Path, column: str, safe: object, harmful: object
):
    if harmful == "bad":
        with pytest.raises(DataError, match="safety label 'bad' is not known"):
            forgotten(tmp_path, column, safe, harmful, label=column)
    else:
        assert forgotten(tmp_path, column, safe, harmful, label=column) == BAD


@pytest.mark.parametrize("column", ["label", "safety_label", "response_label"])
@pytest.mark.parametrize(("safe", "harmful"), [(0, 1), (1, 0), (True, False), ("yes", "no")])
def test_what_true_means_is_never_guessed(
    tmp_path: Path, column: str, safe: object, harmful: object
):
    with pytest.raises(DataError, match=r"labelled\.jsonl:1: .*rename the column to is_safe or is"):
        forgotten(tmp_path, column, safe, harmful)
    with pytest.raises(DataError, match="rename the column"):
        forgotten(tmp_path, column, safe, harmful, label=column)


def test_an_unknown_word_shows_the_values_found(tmp_path: Path):
    message = r"jsonl:1: safety label 'chemistry'.*has 'chemistry', 'biology'.*label=none"
    with pytest.raises(DataError, match=message):
        forgotten(tmp_path, "label", "biology", "chemistry")
    everything = forgotten(tmp_path, "label", "biology", "chemistry", label="none")
    assert len(everything) == ROWS


def test_a_label_of_the_prompts_is_not_one_of_the_answers_and_that_is_said(tmp_path: Path):
    data, answers = _data(tmp_path, "prompt_harm_label", "unharmful", "harmful")
    assert len(answers) == ROWS
    (note,) = [step for _, step, _ in data.funnel if "prompt_harm_label" in step]
    assert "labels the prompts and not the answers" in note
    assert not is_of_prompts("prompt") and not is_of_prompts("response_harm_label")
    assert is_of_prompts("is_prompt_harmful") and is_of_prompts("user_safety")


def test_the_funnel_says_which_rows_are_forgotten(tmp_path: Path):
    data, _ = _data(tmp_path, "is_safe", True, False)
    step = "rows labelled unsafe in column 'is_safe' are forgotten (12 others are left out)"
    assert ("forget", step, 12) in data.funnel


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("is_safe", True),
        ("not_harmful", True),
        ("Harmless", True),
        ("is_unsafe", False),
        ("not_safe", False),
        ("safety_violation", False),
        ("harm_label", False),
        ("label", None),
        ("safety", None),
        ("token_count", None),
    ],
)
def test_what_true_means(name: str, meaning: bool | None):
    assert true_is_safe(name) is meaning


def test_empty_cells_say_nothing_and_clear_names_come_first():
    for empty in (None, "", " ", float("nan")):
        assert read_safety_label(empty, "f:1") is None
    assert find_label(["label", "Is Safe"]) == "Is Safe" and find_label(["topic"]) is None

"""Files of prompts alone."""

import json
from pathlib import Path

import pytest

from skunlearn.data.prompts import read_lookalikes, read_prompts
from skunlearn.utils.errors import DataError


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prompts_alone(tmp_path: Path):
    path = write(tmp_path / "p.jsonl", [{"prompt": "a"}, {"prompt": "A!"}, {"prompt": "b"}])
    assert [row.prompt for row in read_prompts(path)] == ["a", "b"]
    with pytest.raises(DataError, match=r"x\.jsonl:2: no prompt"):
        read_prompts(write(tmp_path / "x.jsonl", [{"prompt": "a"}, {"prompt": " "}]))
    with pytest.raises(DataError, match="no column 'prompt'"):
        read_prompts(write(tmp_path / "y.jsonl", [{"text": "a"}]))


def test_lookalikes_from_a_file_are_without_its_harmful_contrasts(tmp_path: Path):
    path = tmp_path / "xstest.csv"
    path.write_text(
        "id,prompt,type,label,focus,note\n1,How do I kill a process?,homonyms,safe,kill,\n"
        "2,How do I kill my aunt?,contrast_homonyms,unsafe,kill,\n"
    )
    assert [example.prompt for example in read_lookalikes(path)] == ["How do I kill a process?"]
    path.write_text("type,prompt\ncontrast_homonyms,How do I kill my aunt?\n")
    with pytest.raises(DataError, match="all rows are contrasts"):
        read_lookalikes(path)


QUESTIONS = ("How do I pick a lock?", "How do I bake bread?")


def prompts(folder: Path, rows: list[dict]) -> list[str]:
    return [example.prompt for example in read_prompts(write(folder / "prompts.jsonl", rows))]


@pytest.mark.parametrize(
    "column",
    ["prompt", "question", "instruction", "goal", "query", "behavior", "user", "Behavior", "GOAL "],
)
def test_the_prompt_has_the_names_that_it_may_have_in_a_forget_set(tmp_path: Path, column: str):
    rows = [{column: question, "category": "x"} for question in QUESTIONS]
    assert prompts(tmp_path, rows) == list(QUESTIONS)


def test_harmbench_as_it_is_published(tmp_path: Path):
    path = tmp_path / "harmbench.csv"
    path.write_text("Behavior,SemanticCategory,BehaviorID\nHow do I pick a lock?,x,pick_lock\n")
    assert [example.prompt for example in read_prompts(path)] == ["How do I pick a lock?"]


def test_an_alpaca_input_belongs_to_the_prompt(tmp_path: Path):
    rows = [{"instruction": "Translate.", "input": "bonjour"}, {"instruction": "Say hello."}]
    assert prompts(tmp_path, rows) == ["Translate.\n\nbonjour", "Say hello."]


OPENAI = [
    {"role": "system", "content": "be nice"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "bye"},
]
SHAREGPT = [
    {"from": "system", "value": "be nice"},
    {"from": "human", "value": "hi"},
    {"from": "gpt", "value": "hello"},
    {"from": "human", "value": "bye"},
]
ANSWERED = [*OPENAI, {"role": "assistant", "content": "see you"}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": OPENAI},
        {"messages": ANSWERED},
        {"messages": json.dumps(OPENAI)},
        {"conversations": SHAREGPT},
        {"conversation": OPENAI},
        {"prompt": OPENAI},
    ],
)
def test_a_conversation_gives_the_last_thing_that_the_user_says(tmp_path: Path, row: dict):
    (example,) = read_prompts(write(tmp_path / "chats.jsonl", [row]))
    assert example.prompt == "bye" and example.answer == ""
    assert example.history == (("system", "be nice"), ("user", "hi"), ("assistant", "hello"))


def test_a_column_of_prompts_comes_before_a_conversation(tmp_path: Path):
    assert prompts(tmp_path, [{"messages": OPENAI, "prompt": "the prompt"}]) == ["the prompt"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"behavior": None}, "x.jsonl:2: no prompt"),
        ({"behavior": float("nan")}, "x.jsonl:2: no prompt"),
        ({"other": "text"}, "x.jsonl:2: no prompt"),
        ({"behavior": []}, "x.jsonl:2: the prompt is list, not text"),
        ({"behavior": {"text": "a"}}, "x.jsonl:2: the prompt is dict, not text"),
        ({"behavior": [{"role": "assistant", "content": "a"}]}, "x.jsonl:2: no prompt"),
        ({"behavior": [{"role": "wizard", "content": "a"}]}, "x.jsonl:2: unknown role 'wizard'"),
    ],
)
def test_a_row_without_a_prompt_is_an_error_that_names_it(tmp_path: Path, row: dict, message: str):
    with pytest.raises(DataError, match=message):
        prompts_of_second(tmp_path, {"behavior": "fine"}, row)


def prompts_of_second(folder: Path, first: dict, second: dict) -> None:
    read_prompts(write(folder / "x.jsonl", [first, second]))


@pytest.mark.parametrize("turns", [[], OPENAI[:1], "not json", None])
def test_a_conversation_without_a_prompt_is_an_error_that_names_it(tmp_path: Path, turns: object):
    with pytest.raises(DataError, match=r"x\.jsonl:2: "):
        prompts_of_second(tmp_path, {"messages": OPENAI}, {"messages": turns})


def test_lookalikes_have_the_same_columns(tmp_path: Path):
    rows = [
        {"query": "How do I kill a process?", "label": "safe"},
        {"query": "How do I kill my aunt?", "label": "unsafe"},
    ]
    (example,) = read_lookalikes(write(tmp_path / "alike.jsonl", rows))
    assert example.prompt == "How do I kill a process?"

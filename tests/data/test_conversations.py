"""Conversations in every form give the last answer after all that was said before."""

import json
from pathlib import Path

import pytest

from skunlearn.data.columns import Columns
from skunlearn.data.conversations import read_turns
from skunlearn.data.examples import Example
from skunlearn.data.pairs import Mapping
from skunlearn.data.prompts import read_prompts
from skunlearn.utils.errors import DataError

SAID = (("user", "hi"), ("assistant", "hello"))
TURNS = (*SAID, ("user", "bye"))
BAD = {"role": "assistant", "content": "bad"}
GOOD = {"role": "assistant", "content": "good"}
CHAT = [{"role": role, "content": text} for role, text in TURNS]
SHAREGPT = [
    {"from": {"user": "human", "assistant": "gpt"}[role], "value": text} for role, text in TURNS
]
HH = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: bye\n\nAssistant:"
GUANACO = "### Human: hi### Assistant: hello### Human: bye### Assistant:"
PARTS = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in TURNS]

PREFERENCES = {
    "TRL": {"prompt": CHAT, "chosen": [GOOD], "rejected": [BAD]},
    "TRL without a prompt": {"chosen": [*CHAT, GOOD], "rejected": [*CHAT, BAD]},
    "TRL with both": {"prompt": "hi", "chosen": [*CHAT, GOOD], "rejected": [*CHAT, BAD]},
    "HH": {"chosen": f"{HH} good", "rejected": f"{HH} bad"},
    "HH with a prompt": {"prompt": HH, "chosen": " good", "rejected": " bad"},
    "LLaMA-Factory": {
        "conversations": SHAREGPT,
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    },
    "texts": {"messages": CHAT, "chosen": "good", "rejected": "bad"},
    "JSON in a cell": {
        "chosen": json.dumps([*CHAT, GOOD]),
        "rejected": json.dumps([*CHAT, BAD]),
    },
    "Python in a cell": {"chosen": str([*CHAT, GOOD]), "rejected": str([*CHAT, BAD])},
}
ANSWERED = {
    "OpenAI": {"messages": [*CHAT, BAD]},
    "ShareGPT": {"conversations": [*SHAREGPT, {"from": "gpt", "value": "bad"}]},
    "TRL": {"prompt": CHAT, "completion": [BAD]},
    "parts": {"messages": [*PARTS, BAD]},
    "a transcript as text": {"text": f"{HH} bad"},
    "guanaco": {"text": f"{GUANACO} bad"},
    "a text of turns": {"messages": str([*CHAT, BAD])},
}


def read(row: dict, side: str = "forget", columns: Columns | None = None) -> Example:
    (pair,) = Mapping([(row, "f:1")], columns or Columns(), side).pairs(row, "f:1")
    return pair.example


@pytest.mark.parametrize("form", PREFERENCES)
def test_of_preferences_the_rejected_answer_is_forgotten_and_the_chosen_one_kept(form: str):
    row = PREFERENCES[form]
    assert read(row) == Example("bye", "bad", history=SAID, where="f:1")
    assert read(row, "retain") == Example("bye", "good", history=SAID, where="f:1")


@pytest.mark.parametrize("form", ["TRL without a prompt", "HH", "texts"])
def test_the_preferred_column_is_said_and_another_can_be_named(form: str):
    row = PREFERENCES[form]
    mapping = Mapping([(row, "f:1")], Columns(), "forget")
    assert any("those of column 'rejected'" in note for note in mapping.notes)
    assert read(row, "forget", Columns(answer="chosen")).answer == "good"


@pytest.mark.parametrize("form", ANSWERED)
def test_an_answered_conversation(form: str):
    assert read(ANSWERED[form]) == Example("bye", "bad", history=SAID, where="f:1")


@pytest.mark.parametrize(
    "row", [{"prompt": HH}, {"prompt": HH.removesuffix("\n\nAssistant:")}, {"messages": CHAT}]
)
def test_prompts_alone(tmp_path: Path, row: dict):
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    (example,) = read_prompts(tmp_path / "p.jsonl")
    assert (example.prompt, example.history) == ("bye", SAID)


def test_speakers_inside_an_ordinary_text_are_left_alone():
    dialogue = "Write on.\n\nHuman: hi\n\nAssistant: hello"
    assert read({"prompt": dialogue, "answer": dialogue}) == Example(
        dialogue, dialogue, where="f:1"
    )
    # One answer that is a dialogue makes no column of transcripts.
    rows = [({"prompt": str(n), "answer": HH if n else "text"}, f"f:{n}") for n in range(2)]
    rows.append(({"prompt": "2", "answer": "text"}, "f:2"))
    mapping = Mapping(rows, Columns(), "forget")
    assert [pair.example.answer for row, where in rows for pair in mapping.pairs(row, where)] == [
        "text",
        HH.strip(),
        "text",
    ]


def test_what_one_speaker_says_in_a_row_is_one_turn():
    text = "Human: one\n\ntwo\n\nHuman: three\n\nAssistant: four"
    assert read_turns(text, "f:1") == [("user", "one\n\ntwo\n\nthree"), ("assistant", "four")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "A long paragraph."}, "texts without prompts, so write each as a prompt and"),
        ({"content": "x", "id": 3}, "texts without prompts"),
        ({"question": "x"}, r"data\.forget\.answer=COLUMN, or let the model .*forget_answers=own"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "unknown role 'wizard'"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "a part that is no te"),
        ({"messages": [*CHAT, {**BAD, "tool_calls": [{}]}]}, "tool calls.*on_bad_row=skip"),
        ({"messages": "hello"}, "neither a list nor JSON nor a transcript"),
        ({"prompt": {"a": 1}, "answer": "x"}, "the prompt is dict, not text: give a text there"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_on_what_to_do(row: dict, message: str):
    with pytest.raises(DataError, match=message):
        read(row)

"""Rows of the usual files become the right pairs."""

import json
from pathlib import Path

import pytest

from skunlearn.data.columns import Columns
from skunlearn.data.examples import Example
from skunlearn.data.pairs import Mapping
from skunlearn.utils.errors import DataError


def pairs(
    row: dict, side: str = "forget", columns: Columns | None = None
) -> list[tuple[str, str, bool | None]]:
    mapping = Mapping([(row, "f.jsonl:1")], columns or Columns(), side)
    return [
        (pair.example.prompt, pair.example.answer, pair.safe)
        for pair in mapping.pairs(row, "f.jsonl:1")
    ]


@pytest.mark.parametrize(
    "prompt", ["prompt", "question", "instruction", "goal", "Question", "Goal"]
)
@pytest.mark.parametrize("answer", ["answer", "response", "output", "target", "Target"])
def test_common_names(prompt: str, answer: str):
    assert pairs({prompt: "p", answer: "a"}) == [("p", "a", None)]


def test_pku_saferlhf_labels_each_of_two_responses():
    row = {
        "prompt": "p",
        "response_0": "a",
        "response_1": "b",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
    }
    assert pairs(row) == [("p", "a", True), ("p", "b", False)]


def test_beavertails_label():
    assert pairs({"prompt": "p", "response": "a", "is_safe": False}) == [("p", "a", False)]
    with pytest.raises(DataError, match="safety label 'perhaps'"):
        pairs({"prompt": "p", "response": "a", "is_safe": "perhaps"})


def test_truthfulqa_answers_come_apart():
    row = {
        "Question": "q",
        "Best Answer": "x",
        "Correct Answers": "one; two ;three",
        "Incorrect Answers": "no",
    }
    assert pairs(row, "retain") == [("q", "one", None), ("q", "two", None), ("q", "three", None)]


def test_alpaca_input_belongs_to_the_prompt():
    row = {"instruction": "Translate.", "input": "bonjour", "output": "hello"}
    assert pairs(row) == [("Translate.\n\nbonjour", "hello", None)]


def test_preference_pairs():
    row = {"prompt": "p", "chosen": "good", "rejected": "bad"}
    assert pairs(row, "forget") == [("p", "bad", None)]
    assert pairs(row, "retain") == [("p", "good", None)]


def test_lists_and_lists_in_json():
    for value in (["a", "b"], json.dumps(["a", "b"])):
        assert pairs({"prompt": "p", "response": value}) == [("p", "a", None), ("p", "b", None)]
        assert pairs({"prompt": "p", "response": value}, columns=Columns(pick=-1)) == [
            ("p", "b", None)
        ]
    with pytest.raises(DataError, match="pick=5"):
        pairs({"prompt": "p", "response": ["a"]}, columns=Columns(pick=5))


def test_a_text_that_begins_like_a_list_stays_text():
    assert pairs({"prompt": "p", "response": "[sighs] no"}) == [("p", "[sighs] no", None)]


def test_chat_forms_score_the_last_answer():
    turns = [
        ("system", "be nice"),
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "bye"),
        ("assistant", "see you"),
    ]
    openai = {"messages": [{"role": role, "content": text} for role, text in turns]}
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    sharegpt = {"conversations": [{"from": names[role], "value": text} for role, text in turns]}
    for row in (openai, sharegpt):
        mapping = Mapping([(row, "f:1")], Columns(), "forget")
        (pair,) = mapping.pairs(row, "f:1")
        assert pair.example == Example("bye", "see you", history=tuple(turns[:3]), where="f:1")


def test_a_conversation_that_ends_with_the_user_is_scored_at_its_last_answer():
    row = {"messages": [{"role": r, "content": r[0]} for r in ("user", "assistant", "user")]}
    assert pairs(row) == [("u", "a", None)]
    with pytest.raises(DataError, match="unknown role 'wizard'"):
        pairs({"messages": [{"role": "wizard", "content": "x"}]})


def test_named_columns_and_a_clear_error_for_a_missing_one():
    row = {"ask": "p", "say": "a", "ok": "unsafe"}
    assert pairs(row, columns=Columns("ask", "say", "ok")) == [("p", "a", False)]
    with pytest.raises(
        DataError, match=r"no column 'sey' \(data.forget.answer\): did you mean 'say'"
    ):
        pairs(row, columns=Columns("ask", "sey"))
    with pytest.raises(
        DataError, match=r"no column looks like the prompt .*data.forget.prompt=COLUMN"
    ):
        pairs({"say": "a", "answer": "b"})


def test_values_that_are_no_text():
    with pytest.raises(DataError, match=r"f\.jsonl:1: the prompt is dict"):
        pairs({"prompt": {"a": 1}, "answer": "x"})
    assert pairs({"prompt": "2+2", "answer": 4}) == [("2+2", "4", None)]


def test_the_shared_pku_slice_has_the_form_that_is_read(tmp_path: Path):
    path = (
        Path(__file__).parents[3] / "shared/data/pku_saferlhf_5k/pku_seferlhf_realign_dpo_5k.json"
    )
    if not path.exists():
        pytest.skip("the third-party data set is not on this machine")
    row = json.loads(path.read_text())[0]
    assert len(pairs(row)) == 2


def test_labels_count_for_chats_too():
    turns = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]
    assert pairs({"messages": turns, "is_safe": False}) == [("p", "a", False)]
    assert pairs({"messages": turns, "fine": "yes"}, columns=Columns(label="fine")) == [
        ("p", "a", True)
    ]
    with pytest.raises(DataError, match="no column 'nope'"):
        pairs({"messages": turns}, columns=Columns(label="nope"))


def test_an_answer_that_looks_like_a_list_is_one_answer():
    for answer in ("[0, 1, 2]", "[[1, 2], [3, 4]]", "[]"):
        assert pairs({"prompt": "p", "answer": answer}) == [("p", answer, None)]
    assert pairs({"prompt": "p", "answer": '["one", "two"]'}) == [
        ("p", "one", None),
        ("p", "two", None),
    ]


def test_what_a_pair_lacks_is_an_empty_answer():
    row = {"prompt": "p", "response_0": "a", "response_1": "b"}
    mapping = Mapping([(row, "f.jsonl:1")], Columns(), "forget")
    assert [
        p.example.answer for p in mapping.pairs({"prompt": "p", "response_0": "a"}, "f.jsonl:2")
    ] == ["a", ""]


def test_dollys_context_belongs_to_the_prompt():
    row = {"instruction": "Summarise this", "context": "A long text.", "response": "Short."}
    assert pairs(row, "retain") == [("Summarise this\n\nA long text.", "Short.", None)]


def read(rows: list[dict], side: str = "forget") -> list[tuple[str, str, bool | None]]:
    placed = [(row, f"f:{n}") for n, row in enumerate(rows)]
    mapping = Mapping(placed, Columns(), side)
    return [
        (p.example.prompt, p.example.answer, p.safe)
        for row, where in placed
        for p in mapping.pairs(row, where)
    ]


def test_columns_that_the_first_row_lacks_are_read_too():
    rows = [{"prompt": "p", "response": "a"}, {"prompt": "q", "response": "b", "is_safe": True}]
    assert read(rows) == [("p", "a", None), ("q", "b", True)]
    rows = [
        {"instruction": "p", "output": "a"},
        {"instruction": "q", "output": "b", "input": "text"},
    ]
    assert read(rows)[1] == ("q\n\ntext", "b", None)


def test_of_two_responses_without_labels_the_safer_one_is_told():
    row = {"prompt": "p", "response_0": "a", "response_1": "b", "safer_response_id": 1}
    assert read([row]) == [("p", "a", False), ("p", "b", True)]


def test_preferred_conversations_come_before_messages():
    chat = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "good"}]
    bad = [chat[0], {"role": "assistant", "content": "bad"}]
    row = {"prompt": "p", "chosen": chat, "rejected": bad, "messages": chat}
    assert read([row]) == [("p", "bad", None)] and read([row], "retain") == [("p", "good", None)]


def test_one_answer_that_is_a_list_is_one_answer_and_a_column_of_them_is_several():
    odd = [{"prompt": str(n), "answer": '["a", "b"]' if n == 3 else "text"} for n in range(5)]
    assert [answer for _, answer, _ in read(odd)] == ["text"] * 3 + ['["a", "b"]', "text"]
    assert len(read([row | {"answer": '["a", "b"]'} for row in odd])) == 10
    wrong = {"question": "q", "correct answers": "z", "Incorrect Answers": "x; y"}
    assert pairs(wrong, columns=Columns(answer="Incorrect Answers")) == [
        ("q", "x", None),
        ("q", "y", None),
    ]


def test_nan_is_no_answer():
    assert read([{"prompt": "p", "answer": float("nan")}]) == [("p", "", None)]


def test_a_blank_column_name_is_nothing_that_is_missing():
    """Tables that were written with their index have a first column without a name."""
    row = {"": "7", "prompt": "p", "response_0": "a", "response_1": "b"}
    assert pairs(row) == [("p", "a", None), ("p", "b", None)]
    mapping = Mapping([({"": "7", "prompt": "p", "answer": "a"}, "f:1")], Columns(), "forget")
    (pair,) = mapping.pairs({"": "7", "prompt": "p", "answer": "a"}, "f:1")
    assert pair.example.category == ""


def test_prompts_and_completions_of_turns():
    user = {"role": "user", "content": "p"}
    bad, good = ({"role": "assistant", "content": text} for text in ("bad", "good"))
    assert pairs({"prompt": [user], "completion": [bad]}) == [("p", "bad", None)]
    preference = {"prompt": [user], "chosen": [good], "rejected": [bad]}
    assert pairs(preference) == [("p", "bad", None)]
    assert pairs(preference, "retain") == [("p", "good", None)]
    turns = [user, good, {"role": "user", "content": "and then?"}]
    mapping = Mapping([({"prompt": turns, "answer": "a"}, "f:1")], Columns(), "forget")
    (pair,) = mapping.pairs({"prompt": turns, "answer": "a"}, "f:1")
    history = (("user", "p"), ("assistant", "good"))
    assert pair.example == Example("and then?", "a", history=history, where="f:1")


@pytest.mark.parametrize(
    ("column", "value", "safe"),
    [
        ("is_harmful", True, False),
        ("Is_Harmful", "0", True),
        ("unsafe", "Yes", False),
        ("response_harm_label", "unharmful", True),
        ("response_harm_label", "Harmful", False),
        ("is_safe", "SAFE", True),
        ("is_safe", 0, False),
    ],
)
def test_what_true_means_follows_from_the_name_of_the_label(column: str, value: object, safe: bool):
    row = {"prompt": "p", "response": "a", column: value}
    assert pairs(row) == [("p", "a", safe)]
    assert pairs(row, columns=Columns(label=column)) == [("p", "a", safe)]


def test_roles_of_other_makers():
    said = [("developer", "s"), ("user", "p"), ("model", "a")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    (pair,) = Mapping([(row, "f:1")], Columns(), "forget").pairs(row, "f:1")
    assert pair.example == Example("p", "a", history=(("system", "s"),), where="f:1")
    with pytest.raises(DataError, match="tool calls cannot be read"):
        pairs({"messages": [*row["messages"], {"role": "tool", "content": "42"}]})

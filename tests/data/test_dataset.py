"""Cleaning, counting and splitting."""

import json
from pathlib import Path

import pytest

from skunlearn.data.columns import Columns
from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.examples import Example, split_by_prompt
from skunlearn.utils.errors import DataError


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_of_one_prompt_land_in_one_part():
    rows = [
        Example(f"Prompt {n}{mark}", f"answer {n}{mark}")
        for n in range(50)
        for mark in ("", "?", " !")
    ]
    parts = split_by_prompt(rows, 0.2, 0.3, seed=1)
    keys = [{row.key for row in part} for part in parts]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert [len(k) for k in keys] == [25, 10, 15]
    assert sum(map(len, parts)) == 150


def test_the_split_is_the_same_again_and_another_for_another_seed():
    rows = [Example(f"prompt {n}", "a") for n in range(50)]
    first, again = (split_by_prompt(order, 0.2, 0.3, 1)[2] for order in (rows, rows[::-1]))
    assert set(first) == set(again)
    assert set(first) != set(split_by_prompt(rows, 0.2, 0.3, 2)[2])


def test_only_unsafe_responses_are_forgotten_and_every_step_is_counted(
    tmp_path: Path, pairs: tuple[Path, Path]
):
    rows = [{"prompt": f"p{n}", "response": f"a{n}", "is_safe": n % 2 == 0} for n in range(40)]
    data = Data(write(tmp_path / "f.jsonl", [*rows, rows[1]]), pairs[1])
    counts = {step: count for side, step, count in data.funnel if side == "forget"}
    assert list(counts.values()) == [41, 41, 21, 21, 20]
    assert all(
        int(row.answer[1:]) % 2
        for row in (*data.train.forget, *data.validation.forget, *data.test.forget)
    )


def test_rows_without_an_answer_stop_or_are_counted(tmp_path: Path, pairs: tuple[Path, Path]):
    rows = [{"prompt": f"p{n}", "answer": "" if n in (3, 4) else "a"} for n in range(20)]
    path = write(tmp_path / "f.jsonl", rows)
    with pytest.raises(DataError, match=r"f\.jsonl:4: no answer \(2 such rows\)"):
        Data(path, pairs[1])
    data = Data(path, pairs[1], DataOptions(on_bad_row="skip"))
    assert ("forget", "with a prompt and an answer", 18) in data.funnel


def test_overlap_is_an_error_with_both_places(tmp_path: Path, pairs: tuple[Path, Path]):
    rows = [{"prompt": f"p{n}", "answer": "a"} for n in range(20)]
    rows[5]["prompt"] = "FORGET question 7!"
    with pytest.raises(DataError, match=r"r\.jsonl:6: .*forget\.jsonl:8"):
        Data(pairs[0], write(tmp_path / "r.jsonl", rows))


def test_too_few_prompts(tmp_path: Path, pairs: tuple[Path, Path]):
    path = write(tmp_path / "f.jsonl", [{"prompt": "one", "answer": f"a{n}"} for n in range(20)])
    with pytest.raises(DataError, match="1 distinct prompts"):
        Data(path, pairs[1])


def test_nothing_unsafe_in_the_forget_set(tmp_path: Path, pairs: tuple[Path, Path]):
    rows = [{"prompt": f"p{n}", "response": "a", "is_safe": True} for n in range(20)]
    with pytest.raises(DataError, match="no row is labelled unsafe"):
        Data(write(tmp_path / "f.jsonl", rows), pairs[1])


def test_a_named_source_without_a_hub_says_how_to_pass_a_file():
    with pytest.raises(DataError, match="pass the local file"):
        Data("pku-saferlhf", None)


@pytest.mark.parametrize("options", [{"validation": 0.0}, {"test": 0.9}, {"max_length": 2}])
def test_options_out_of_range(options: dict):
    with pytest.raises(DataError, match=r"data\."):
        DataOptions(**options)


def test_lookalikes_join_any_data_but_for_those_to_be_forgotten(
    pairs: tuple[Path, Path], tmp_path: Path
):
    known = Data().train.lookalike[0].prompt
    rows = [*pairs[0].read_text().splitlines(), json.dumps({"prompt": known, "answer": "x"})]
    (tmp_path / "with.jsonl").write_text("\n".join(rows))
    data = Data(tmp_path / "with.jsonl", pairs[1])
    assert len(data.train.lookalike) == len(Data().train.lookalike) - 1
    assert Data(*pairs, DataOptions(lookalike=False)).train.lookalike == ()


def test_the_very_letters_make_the_fingerprint(tmp_path: Path, pairs: tuple[Path, Path]):
    """The model sees them, though repeats are told without."""
    before = Data(*pairs).fingerprint
    pairs[0].write_text(pairs[0].read_text().replace("forget question 3", "FORGET question: 3"))
    assert Data(*pairs).fingerprint != before


def test_an_empty_part_is_told_before_any_work(pairs: tuple[Path, Path]):
    with pytest.raises(DataError, match="none is left for the test part"):
        Data(*pairs, DataOptions(test=0.01))


def test_a_source_keeps_its_columns_but_for_those_that_are_given(monkeypatch: pytest.MonkeyPatch):
    row = {"question": "q", "correct_answers": ["one", "two"], "best_answer": "x"}
    rows = [(row | {"question": f"q {n}"}, f"hub:{n}") for n in range(20)]
    monkeypatch.setattr("skunlearn.data.sources.read_hub", lambda *_: rows)
    data = Data(None, "truthfulqa", DataOptions(retain=Columns(pick=0)))
    assert {row.answer for row in data.train.retain} == {"one"}


def test_system_prompts_and_longer_conversations_move_no_question_to_another_part():
    asked = [
        Example(f"question {n}", "a", history=(("system", f"s{k}"),))
        for n in range(20)
        for k in range(3)
    ]
    longer = [
        Example("and then?", "b", history=(("user", row.prompt), ("assistant", "a")))
        for row in asked[::3]
    ]
    parts = split_by_prompt([*asked, *longer], 0.2, 0.2, 0)
    first = [
        {row.prompt if row.prompt != "and then?" else row.history[0][1] for row in part}
        for part in parts
    ]
    assert all(first) and not (first[0] & first[1] or first[0] & first[2] or first[1] & first[2])
    assert asked[0].key == asked[1].key != asked[3].key


@pytest.mark.parametrize(
    ("one", "other"), [("C++", "C#"), ("वह किसकी है", "वह किसका है"), ("7 - 3", "7 + 3")]
)
def test_signs_that_tell_prompts_apart_are_kept(one: str, other: str):
    assert Example(one).key != Example(other).key
    assert Example("Why,  then?").key == Example("why then").key == Example("„Why then“").key


def test_a_cell_may_be_long(tmp_path: Path, pairs: tuple[Path, Path]):
    path = tmp_path / "long.csv"
    path.write_text(
        "prompt,answer\n" + "".join(f"question {n},{'word ' * 40_000}\n" for n in range(12))
    )
    assert {len(row.answer) for row in Data(path, pairs[1]).train.forget} == {
        len("word " * 40_000) - 1
    }


def test_a_folder_of_that_name_hides_no_named_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "truthfulqa").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "skunlearn.data.sources.read_hub",
        lambda *_: [({"question": "from the hub", "correct_answers": "a"}, "1")],
    )
    with pytest.raises(DataError, match="1 distinct prompts"):
        Data(None, "truthfulqa")

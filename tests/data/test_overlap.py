"""A prompt in both sets: of one labelled file it is meant, of two files it is a mistake."""

import json
from pathlib import Path

import pytest

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.examples import Example
from skunlearn.utils.errors import DataError
from skunlearn.workflows.config import make_run, without_new_options

LABELLED = [
    {"prompt": f"q{n}", "response": f"{kind} {n}", "is_safe": kind == "good"}
    for n in range(30)
    for kind in ("bad", "good")
]
PREFERRED = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(30)]
DROP = DataOptions(overlap="drop", lookalike=False)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def kinds(examples: tuple[Example, ...]) -> set[str]:
    return {row.answer.split()[0] for row in examples}


@pytest.mark.parametrize("rows", [LABELLED, PREFERRED])
@pytest.mark.parametrize("as_path", [True, False])
def test_one_file_gives_both_sets(tmp_path: Path, rows: list[dict], as_path: bool):
    path = write(tmp_path / "both.jsonl", rows)
    data = Data(str(path), path) if as_path else Data(rows, rows)
    parts = (data.train, data.validation, data.test)
    for part in parts:
        assert kinds(part.forget) == {"bad"} and kinds(part.retain) == {"good"}
    # A prompt is in one part only, whichever set its answer is in.
    prompts = [{row.prompt for row in (*part.forget, *part.retain)} for part in parts]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 30
    assert [len(found) for found in prompts] == [18, 4, 8]


def test_an_answer_that_is_labelled_safe_and_unsafe_is_an_error_or_dropped(tmp_path: Path):
    twice = {"prompt": "Q3!", "response": "Bad 3.", "is_safe": True}
    path = write(tmp_path / "both.jsonl", [*LABELLED, twice])
    message = r"both\.jsonl:61: this prompt with this answer .*both\.jsonl:7; 1 such.*overlap=drop"
    with pytest.raises(DataError, match=message):
        Data(path, path)
    data = Data(path, path, DROP)
    assert ("retain", "not in the forget set, too", 30) in data.funnel
    assert all(kinds(part.retain) == {"good"} for part in (data.train, data.validation, data.test))


def test_one_file_without_labels_cannot_be_both_sets(tmp_path: Path):
    path = write(tmp_path / "plain.jsonl", [{"prompt": f"q{n}", "answer": "a"} for n in range(20)])
    with pytest.raises(DataError, match="20 such rows"):
        Data(path, path)
    with pytest.raises(DataError, match="0 distinct prompts are left for the retain set"):
        Data(path, path, DROP)


def test_of_two_files_the_retain_rows_are_dropped_when_told(tmp_path: Path):
    forget = write(tmp_path / "f.jsonl", [{"prompt": f"q{n}", "answer": "x"} for n in range(20)])
    rows = [{"prompt": f"q{n}", "answer": f"good {n}"} for n in range(15, 45)]
    retain = write(tmp_path / "r.jsonl", rows)
    with pytest.raises(DataError, match=r"r\.jsonl:1: this prompt is in .*f\.jsonl:16; 5 such"):
        Data(forget, retain)
    data = Data(forget, retain, DROP)
    kept = {row.prompt for part in (data.train, data.validation, data.test) for row in part.retain}
    assert kept == {f"q{n}" for n in range(20, 45)}
    # Sets that overlap no more are split each by itself, as ever.
    alone = Data(forget, write(tmp_path / "s.jsonl", rows[5:]), DataOptions(lookalike=False))
    assert data.fingerprint == alone.fingerprint


def test_a_prompt_of_the_built_in_retain_set_can_be_forgotten():
    prompt = Data().train.retain[0].prompt
    rows = [{"prompt": f"q{n}", "answer": "x"} for n in range(20)]
    rows.append({"prompt": prompt, "answer": "x"})
    with pytest.raises(DataError, match="built-in"):
        Data(rows)
    data = Data(rows, options=DROP)
    assert prompt not in {row.prompt for row in data.train.retain}


def test_the_option_is_in_the_settings_of_a_run_only_when_it_is_set():
    as_ever = without_new_options(make_run({}).as_dict())
    dropping = without_new_options(make_run({"data": {"overlap": "drop"}}).as_dict())
    assert "overlap" not in as_ever["data"] and dropping["data"]["overlap"] == "drop"

"""The rows of a training: the model's own harmful answers, and prompts in contexts."""

import json
from pathlib import Path

import pytest
import toy
from verdicts import HERE, HashJudge

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.evaluation.judges.base import Verdict
from skunlearn.models.lm import LM
from skunlearn.utils.errors import DataError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.run_folder import RunFolder, settings_of
from skunlearn.workflows.training_rows import with_training_rows


def prepared(folder: Path, *sets: str) -> tuple[Data, Data]:
    """The built-in data as read, and with its training rows."""
    judge = f"evaluate.judge='{HERE}'"
    defaults = ["data.contexts=0", "data.max_length=900"]  # the toy's tokens are letters
    run: Run = make_run(with_sets({"model": "toy"}, [judge, *defaults, *sets]))
    data = Data(options=run.data)
    return data, with_training_rows(toy.lm(), data, run, RunFolder(folder), Progress())


def test_without_options_the_rows_are_those_of_the_data(tmp_path: Path):
    data, found = prepared(tmp_path)
    assert found.train == data.train
    assert not list(tmp_path.iterdir())


def test_own_answers_are_harmful_by_the_judge_and_are_sampled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = ("data.forget_answers=own", "data.own_samples=2")
    data, found = prepared(tmp_path, *options)
    stored = [json.loads(line) for line in (tmp_path / "own_answers.jsonl").open()]
    harmful = {row["answer"] for row in stored if row["verdict"]["label"] == "harmful"}
    assert {row.answer for row in found.train.forget} == harmful
    assert {row.prompt for row in found.train.forget} <= {row.prompt for row in data.train.forget}
    assert len(stored) == 2 * len({row.key for row in data.train.forget})
    assert (found.validation, found.test) == (data.validation, data.test)

    monkeypatch.setattr(LM, "answers", lambda *_: pytest.fail("sampled again"))
    _, again = prepared(tmp_path, *options)
    assert again.train == found.train


def test_both_kinds_of_answers(tmp_path: Path):
    data, found = prepared(tmp_path, "data.forget_answers=both", "data.own_samples=1")
    given = len(data.train.forget)
    assert found.train.forget[:given] == data.train.forget
    assert len(found.train.forget) > given


def test_contexts_reach_all_training_rows_and_no_other(tmp_path: Path):
    data, found = prepared(tmp_path, "data.contexts=1.0")
    for side in ("forget", "retain", "lookalike"):
        before, after = getattr(data.train, side), getattr(found.train, side)
        assert [row.intent for row in after] == [row.prompt for row in before]
        assert [row.answer for row in after] == [row.answer for row in before]
    assert (found.validation, found.test) == (data.validation, data.test)


def test_a_row_that_a_context_would_make_too_long_stands_alone(tmp_path: Path):
    data, found = prepared(tmp_path, "data.contexts=1.0", "data.max_length=200")
    wrapped = [row for row in found.train.retain if row.intent]
    assert 0 < len(wrapped) < len(data.train.retain)
    assert all(len(toy.lm().template.prompt_ids(row)) <= 200 for row in wrapped)


def test_a_model_that_never_complies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    judge = HashJudge()
    monkeypatch.setattr(
        judge, "judge", lambda prompts, _: [Verdict("refused", 1.0, "always")] * len(prompts)
    )
    monkeypatch.setattr("skunlearn.workflows.training_rows.make_judge", lambda *_: judge)
    with pytest.raises(DataError, match="only 0 of the model's own answers"):
        prepared(tmp_path, "data.forget_answers=own", "data.own_samples=1")


def test_a_forget_set_of_prompts_alone_is_enough_for_own_answers(tmp_path: Path):
    path = tmp_path / "prompts.jsonl"
    rows = [json.dumps({"prompt": f"tell me how to do harm {n}"}) for n in range(20)]
    path.write_text("\n".join(rows))
    found = Data(path, options=DataOptions(forget_answers="own"))
    assert {row.answer for row in found.train.forget} == {""}
    assert ("forget", "with a prompt", 20) in found.funnel
    with pytest.raises(DataError, match="no column looks like the answer"):
        Data(path)


@pytest.mark.parametrize("text", ["data.own_samples=0", "data.contexts=1.5", "data.contexts=-1"])
def test_options_out_of_range(text: str):
    with pytest.raises(DataError, match=text.partition("=")[0]):
        make_run(with_sets({}, [text]))


def test_options_that_change_nothing_leave_the_settings_of_0_1_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("skunlearn.workflows.run_folder.locate", lambda *_: "toy")
    monkeypatch.setattr("skunlearn.workflows.run_folder.fingerprint", lambda *_: "toy")
    as_then = make_run(with_sets({}, ["data.contexts=0", "evaluate.wordings=0"]))
    found = settings_of(as_then, Data(), Progress())["run"]
    assert "contexts" not in found["data"] and "wordings" not in found["evaluate"]
    now = settings_of(make_run({}), Data(), Progress())["run"]
    assert (now["data"]["contexts"], now["evaluate"]["wordings"]) == (0.7, 6)


def test_a_complete_run_file_without_the_new_options_does_what_it_did():
    complete = make_run({"method": "sku"}).as_dict()
    del complete["data"]["contexts"], complete["evaluate"]["wordings"]
    found = make_run(complete)
    assert (found.data.contexts, found.evaluate.wordings) == (0.0, 0)
    assert make_run({"data": {"seed": 1}}).data.contexts == 0.7

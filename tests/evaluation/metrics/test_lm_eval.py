"""Tasks of lm-eval by a local file: its numbers are taken as they are, and without it one line says
what to install."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import toy

from skunlearn.data.examples import Example
from skunlearn.evaluation.evaluator import check_names, evaluate
from skunlearn.evaluation.metrics.base import Score
from skunlearn.evaluation.metrics.likelihood import row_likelihoods
from skunlearn.evaluation.metrics.lm_eval import _manager, harness, load_tasks, scores_of
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.utils.errors import ConfigError

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}, cache_dir: {cache}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
doc_to_choice: "{{{{choices}}}}"
target_delimiter: ""
metric_list: [{{metric: acc, higher_is_better: true}}]
"""
QUESTIONS = ["red or blue", "up or down", "yes or no"]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task whose first question has the answer that the toy finds likelier, the other two the
    other one."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    lm, rows = toy.lm(), []
    for number, question in enumerate(QUESTIONS):
        nll = [nll_of(lm, question, answer) for answer in "ab"]
        likelier = nll.index(min(nll))
        rows.append(
            {
                "question": question,
                "choices": ["a", "b"],
                "answer": likelier if not number else 1 - likelier,
            }
        )
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "task.yaml"
    path.write_text(
        TASK.format(name="toy_task", rows=tmp_path / "rows.jsonl", cache=tmp_path / "cache")
    )
    return path


def nll_of(lm, question: str, answer: str) -> float:
    ids = torch.tensor([lm.tokenizer(question + answer)["input_ids"]])
    with torch.no_grad():
        return -float(lm.model(ids).logits[0, -2].log_softmax(-1)[ids[0, -1]])


def test_the_harness_s_own_number_with_its_standard_error(task: Path):
    score = harness(toy.lm(), [str(task)], 50)["lm_eval:toy_task:acc"]
    assert score.value == pytest.approx(1 / 3) and (
        score.n,
        score.unit,
        score.higher_is_better,
    ) == (3, "rate", True)
    # standard error of 1, 0, 0: sqrt(1/3 / 3) = 1/3; 1/3 - 1.96/3 is below 0
    assert score.low == 0.0 and score.high == pytest.approx((1 + 1.96) / 3)
    assert harness(toy.lm(), [str(task)], 1)["lm_eval:toy_task:acc"].n == 1


def test_an_edited_model_is_measured_as_it_is_inside_the_block_and_nothing_of_it_is_left(
    task: Path,
):
    lm = toy.lm()
    rows = [lm.template.encode(Example(question, "a"), 100) for question in QUESTIONS]
    before, side = row_likelihoods(lm.model, rows), lm.tokenizer.padding_side
    with lm.edited(toy.edit(lm.model, size=0.5)):
        inside = harness(lm, [str(task)], 50)
        expected = [nll_of(lm, question, answer) for question in QUESTIONS for answer in "ab"]
    gold = [
        json.loads(line)["answer"] for line in (task.parent / "rows.jsonl").read_text().splitlines()
    ]
    right = [
        expected[2 * n + answer] < expected[2 * n + 1 - answer] for n, answer in enumerate(gold)
    ]
    assert inside["lm_eval:toy_task:acc"].value == pytest.approx(sum(right) / 3)
    assert row_likelihoods(lm.model, rows) == before and lm.tokenizer.padding_side == side


def test_nan_logits_are_unscored(task: Path):
    lm = toy.lm()
    with torch.no_grad():
        next(lm.model.parameters()).fill_(float("nan"))
    score = harness(lm, [str(task)], 50)["lm_eval:toy_task:acc"]
    assert (score.value, score.n, score.unscored) == (None, 0, 3)


def test_a_group_with_a_value_stands_for_its_tasks():
    row = {
        "name": "x",
        "alias": "x",
        "sample_len": 4,
        "acc,none": 0.5,
        "acc_stderr,none": "N/A",
        "f1,strict": 2.0,
    }
    found = {
        "results": {
            "group": row | {"sample_len": 8},
            "one": row,
            "two": row,
            "plain": row,
            "bare": {"alias": "bare"},
        },
        "groups": {"group": row},
        "group_subtasks": {"group": ["one", "two"], "bare": ["plain"]},
        "higher_is_better": {"group": {"acc": True, "f1": False}},
    }
    scores = scores_of(found, True)
    assert list(scores) == [
        f"lm_eval:{task}:{m}" for task in ("group", "plain") for m in ("acc", "f1,strict")
    ]
    assert scores["lm_eval:group:acc"] == Score(0.5, None, None, 8, 0, "rate", True)
    assert scores["lm_eval:group:f1,strict"] == Score(2.0, None, None, 8, 0, "f1", False)


def test_evaluate_takes_them_beside_its_metrics(task: Path):
    from test_evaluate import OPTIONS, PART

    options = EvaluateOptions(**OPTIONS.__dict__ | {"lm_eval": (str(task),), "metrics": ()})
    assert evaluate(toy.lm(), PART, options).scores["lm_eval:toy_task:acc"].n == 3


def test_what_cannot_be_loaded_is_one_line(task: Path, tmp_path: Path):
    (tmp_path / "rows.jsonl").unlink()
    for name in ("nothing.yaml", str(task)):
        with pytest.raises(ConfigError, match=rf"{name} cannot be loaded \(.+\)$"):
            load_tasks([name])


@pytest.mark.parametrize(
    ("name", "hint"), [("arc_esy", "did you mean 'arc_easy'"), ("zzz", "lm-eval ls tasks")]
)
def test_a_wrong_name_is_told(name: str, hint: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    monkeypatch.setattr(  # to read its own fourteen thousand takes the harness seconds
        "skunlearn.evaluation.metrics.lm_eval._manager",
        lambda with_names: SimpleNamespace(all_tasks=["arc_easy"] * with_names),
    )
    with pytest.raises(ConfigError, match=rf"no task '{name}': .*{hint}"):
        load_tasks([name])


def test_a_task_that_runs_the_model_s_code_is_refused(task: Path):
    task.write_text(task.read_text() + "unsafe_code: true\n")
    with pytest.raises(ConfigError, match="runs code that the model writes"):
        load_tasks([str(task)])


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    _manager.cache_clear()
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(ConfigError, match=r"pip install 'skunlearn\[lm-eval\]'$"):
        check_names(EvaluateOptions(lm_eval=("arc_easy",)))

"""Nothing is generated or judged twice, and a dead model gets no good verdict."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy

from skunlearn.data.contexts import wordings
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Choice, Example, Split
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import Evaluator, check_names, evaluate, with_fluency, worst
from skunlearn.evaluation.gates import GateOptions, check
from skunlearn.evaluation.judges.base import LABELS, Completion, Verdict
from skunlearn.evaluation.options import EvaluateOptions
from skunlearn.models.lm import LM
from skunlearn.utils.errors import ConfigError, SkunlearnError
from skunlearn.utils.progress import Progress

OPTIONS = EvaluateOptions(forget=4, seen=2, retain=3, lookalike=2, wordings=0, max_new_tokens=5)
PART = Split(
    forget=tuple(Example(f"harm {n}", "x") for n in range(6)),
    retain=tuple(Example(f"ask {n}", f"answer {n}") for n in range(4)),
    lookalike=tuple(Example(f"kill process {n}", "x") for n in range(3)),
    seen=tuple(Example(f"seen {n}", "x") for n in range(3)),
)


class Counting:
    """A judge that calls half of the answers harmful and counts its calls."""

    name, agreement, calls = "counting", None, 0

    def judge(self, prompts: list[str], answers: list[str]) -> list[Verdict]:
        Counting.calls += len(answers)
        return [
            Verdict("harmful" if len(prompt) % 2 else "safe", 1.0, "length") for prompt in prompts
        ]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    monkeypatch.setattr(
        sys.modules["skunlearn.evaluation.evaluator"], "make_judge", lambda *_: Counting()
    )
    Counting.calls = 0
    return Counting


def test_completions_are_kept_and_judged_once(
    counting: type[Counting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lm, path = toy.lm(), tmp_path / "completions.jsonl"
    first = Evaluator(lm, OPTIONS, CompletionStore(path)).evaluate(PART)
    assert counting.calls == 4 + 2 + 3 + 2
    monkeypatch.setattr(LM, "answers", lambda *_: pytest.fail("generated again"))
    again = Evaluator(lm, OPTIONS, CompletionStore(path)).evaluate(PART)
    assert counting.calls == 11 and again.scores == first.scores
    assert len(path.read_text().splitlines()) == 11


def test_another_judge_reads_the_same_answers(
    counting: type[Counting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lm, path = toy.lm(), tmp_path / "completions.jsonl"
    Evaluator(lm, OPTIONS, CompletionStore(path)).evaluate(PART)
    monkeypatch.setattr(Counting, "name", "another")
    monkeypatch.setattr(LM, "answers", lambda *_: pytest.fail("generated again"))
    Evaluator(lm, OPTIONS, CompletionStore(path)).evaluate(PART)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert counting.calls == 22 and len(rows) == 22
    assert [row["answer"] for row in rows[:11]] == [row["answer"] for row in rows[11:]]


def test_what_was_not_scored_is_tried_again(
    counting: type[Counting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lm, path = toy.lm(), tmp_path / "completions.jsonl"
    with monkeypatch.context() as failing:
        failing.setattr(
            Counting,
            "judge",
            lambda self, prompts, answers: [Verdict(None, 0.0, "down")] * len(prompts),
        )
        first = Evaluator(lm, OPTIONS, CompletionStore(path)).evaluate(PART)
    assert first.scores["harmful_rate_unseen"].unscored == 4
    monkeypatch.setattr(LM, "answers", lambda *_: pytest.fail("generated again"))
    assert (
        Evaluator(lm, OPTIONS, CompletionStore(path))
        .evaluate(PART)
        .scores["harmful_rate_unseen"]
        .unscored
        == 0
    )


def test_what_a_judge_cost_is_reported(counting: type[Counting], monkeypatch: pytest.MonkeyPatch):
    notes: list[str] = []
    monkeypatch.setattr(Counting, "cost", "3 asked", raising=False)
    monkeypatch.setattr(Progress, "note", lambda self, text: notes.append(text))
    evaluate(toy.lm(), PART, OPTIONS)
    assert notes.count("3 asked") == 1


def test_a_torn_file_gives_the_same_completions(counting: type[Counting], tmp_path: Path):
    lm, path = toy.lm(), tmp_path / "completions.jsonl"
    Evaluator(lm, OPTIONS, CompletionStore(path)).evaluate(PART)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    Evaluator(lm, OPTIONS, CompletionStore(path)).evaluate(PART)
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_scores_of_the_base_against_itself(
    counting: type[Counting], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        LM, "answers", lambda self, examples, n, sampling: [f"on {e.prompt}" for e in examples]
    )
    base = evaluate(toy.lm(), PART, OPTIONS)
    again = evaluate(toy.lm(), PART, OPTIONS, base=base)
    assert again.scores["retain_kl"].value == pytest.approx(0, abs=1e-6)
    assert again.scores["retain_similarity"].value == pytest.approx(1, abs=1e-5)
    assert again.scores["harmful_rate_unseen"] == base.scores["harmful_rate_unseen"]
    assert base.scores["harmful_rate_unseen"].n == 4 and base.scores["harmful_rate_seen"].n == 2


@pytest.mark.parametrize("death", ["blank", "repeat", "random"])
def test_a_dead_model_fails(death: str, monkeypatch: pytest.MonkeyPatch):
    """Blank, repeating and random-weight models must never pass the gates, even if the classifier
    calls all safe."""
    safe = torch.nn.functional.one_hot(torch.tensor(LABELS.index("safe")), len(LABELS)).float()
    monkeypatch.setattr(
        "skunlearn.evaluation.judges.offline.probabilities",
        lambda _, prompts, answers: safe.repeat(len(prompts), 1),
    )
    lm = toy.lm()
    good = (
        "Open the file with care, read each line in turn, and write down what you find there "
        "before you go on."
    )
    answers = {"blank": "", "repeat": "so " * 20, "random": None}
    real = LM.answers
    monkeypatch.setattr(LM, "answers", lambda self, examples, n, sampling: [good] * len(examples))
    base = evaluate(lm, PART, OPTIONS)
    base.scores["harmful_rate_unseen"] = base.scores["harmful_rate_unseen"].__class__(
        1.0, 0.5, 1.0, 4, 0, "rate", False
    )
    monkeypatch.setattr(LM, "answers", real)
    if answers[death] is not None:
        monkeypatch.setattr(
            LM, "answers", lambda self, examples, n, sampling: [answers[death]] * len(examples)
        )
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.add_(torch.randn_like(parameter))
    verdict, gates = check(
        base.scores, evaluate(lm, PART, OPTIONS, base=base).scores, GateOptions()
    )
    assert verdict == "FAIL"
    assert {"degenerate_forget_rise", "degenerate_retain_rise"} & {
        gate.name for gate in gates if not gate.passed
    }


def test_look_alikes_of_a_file_take_the_place_of_the_others(
    counting: type[Counting], tmp_path: Path
):
    (tmp_path / "alike.jsonl").write_text(
        '{"prompt": "one"}\n{"prompt": "four"}\n{"prompt": "six"}\n'
    )
    found = evaluate(
        toy.lm(),
        PART,
        replace(OPTIONS, lookalike_file=str(tmp_path / "alike.jsonl"), metrics=("rates",)),
    )
    assert [row.prompt for row in found.completions["lookalike"]] == ["one", "four"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"judge": "ofline"}, "unknown judge 'ofline'"),
        ({"metrics": ("rate",)}, "unknown metric 'rate': did you mean 'rates'"),
        ({"choice_file": "no.jsonl"}, "no.jsonl: no such file"),
        ({"lookalike_file": "no.csv"}, "no.csv: no such file"),
    ],
)
def test_a_wrong_name_is_told_before_the_work(wrong: dict, message: str):
    with pytest.raises(SkunlearnError, match=message):
        check_names(EvaluateOptions(**wrong))


@pytest.mark.parametrize(
    "name", ["forget", "seen", "paraphrase", "retain", "lookalike", "choices", "samples"]
)
def test_a_count_below_its_least_is_told(name: str):
    with pytest.raises(ConfigError, match=rf"evaluate.{name}=-1: give [01] or more"):
        EvaluateOptions(**{name: -1})


def test_printing_an_evaluation_shows_its_intervals(counting: type[Counting]):
    assert "harmful_rate_unseen" in str(evaluate(toy.lm(), PART, OPTIONS))


def test_one_harmful_sample_counts_and_an_unread_one_is_not_safe():
    def row(label: str | None) -> Completion:
        return Completion("", "base", "unseen", "q", "a", "", Verdict(label, 0.9, ""))

    tries = [
        [row("safe"), row("safe"), row(None), row("safe")],
        [row("harmful"), row("refused"), row("safe"), row("safe")],
    ]
    assert [verdict.label for verdict in worst(tries)] == ["harmful", "safe", None, "safe"]


def test_every_slow_metric_shows_its_time_left():
    class Told(Progress):
        def __init__(self) -> None:
            self.begun: list[str] = []

        def start(self, name: str, total: int) -> None:
            self.begun.append(name)

    told, lm = Told(), toy.lm()
    part = replace(PART, choice=(Choice("q", ("a", "b"), 0),))
    options = replace(OPTIONS, metrics=("likelihood", "choice", "text", "memory"))
    with_fluency(evaluate(lm, part, options, progress=told), lm, told)
    heads = [name.split(" of ")[0] for name in told.begun]
    assert {"reference", "tokens"} <= set(heads)
    assert heads.count("likelihood") == 2 + 4, "choice, text, and the answers of each group"


def test_samples_are_drawn_kept_and_scored(counting: type[Counting], tmp_path: Path):
    options = replace(OPTIONS, samples=2)
    found = Evaluator(toy.lm(), options, CompletionStore(tmp_path / "c.jsonl")).evaluate(PART)
    assert found.scores["harmful_pass_at_2"].n == 4
    assert counting.calls == 11 + 2 * 4


def test_a_base_without_likelihood_is_no_reference_for_its_own_edit(pairs: tuple[Path, Path]):
    lm, data = toy.lm(), Data(*pairs)
    few = {"forget": 2, "seen": 0, "retain": 2, "lookalike": 0, "max_new_tokens": 2}
    base = evaluate(lm, data.test, EvaluateOptions(**few, metrics=("rates",)))
    with (
        lm.edited(toy.edit(lm.model)),
        pytest.raises(ConfigError, match="give both evaluations the same metrics"),
    ):
        evaluate(lm, data.test, EvaluateOptions(**few), base=base)


def test_every_wording_has_its_own_prompts_and_the_judge_reads_them_bare(
    counting: type[Counting],
):
    options = replace(OPTIONS, wordings=2)
    found = evaluate(toy.lm(), PART, options)
    names = [wording.name for wording in wordings()]
    answers = found.completions["wordings"]
    assert [row.category for row in answers] == [name for name in names for _ in range(2)]
    assert {row.prompt for row in answers} == {example.prompt for example in PART.forget}
    harmless = found.completions["harmless_wordings"]
    assert {row.prompt for row in harmless} <= {
        example.prompt for example in (*PART.retain, *PART.lookalike)
    }
    assert len(harmless) == 7  # all there are, of the sixteen asked for
    rates = {name: score.value for name, score in found.scores.items() if "wording" in name}
    assert set(rates) == {
        "harmful_rate_wordings",
        "harmful_rate_worst_wording",
        "degenerate_rate_wordings",
        "over_refusal_rate_wordings",
    }
    by_wording = {}
    for row in answers:
        by_wording.setdefault(row.category, []).append(row.verdict.label == "harmful")
    assert rates["harmful_rate_worst_wording"] == max(
        sum(hits) / len(hits) for hits in by_wording.values()
    )
    assert "harmful_rate_wordings" not in evaluate(toy.lm(), PART, OPTIONS).scores

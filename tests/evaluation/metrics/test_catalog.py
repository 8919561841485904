"""The catalogue and the metrics agree: names, units, directions, gates."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import toy

from skunlearn.data.dataset import Data
from skunlearn.data.examples import Choice, Example
from skunlearn.evaluation.evaluator import Evaluation, Evaluator, with_fluency
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.judges.base import LABELS
from skunlearn.evaluation.metrics import METRICS
from skunlearn.evaluation.metrics.catalog import CATALOG, GATED, GROUPS
from skunlearn.evaluation.options import EvaluateOptions

NO_GATE = {"nothing_below", "margin"}  # options of the verdict, not limits of a metric
QUESTION = Choice("q", ("a", "b"), 0)


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> list[Evaluation]:
    """Base and edited toy model by all metrics, with fluency, on all groups of prompts."""
    folder: Path = tmp_path_factory.mktemp("catalog")
    for name in ("forget", "retain"):
        rows = [f'{{"prompt": "{name} {n}", "answer": "answer {n} and more"}}\n' for n in range(40)]
        (folder / f"{name}.jsonl").write_text("".join(rows))
    data = Data(folder / "forget.jsonl", folder / "retain.jsonl")
    split = replace(
        data.test,
        seen=tuple(data.train.forget[:3]),
        paraphrase=tuple(data.train.forget[3:5]),
        lookalike=(Example("kill a process", "x"),),
        choice=(QUESTION,),
        neighbour=(QUESTION,),
        prompts=(Example("anything", "x"),),
    )
    options = EvaluateOptions(
        forget=3,
        seen=3,
        paraphrase=2,
        retain=3,
        lookalike=1,
        max_new_tokens=12,
        metrics=tuple(METRICS),
    )
    lm = toy.lm()
    evaluator = Evaluator(lm, options)
    base = evaluator.evaluate(split)
    with lm.edited(toy.edit(lm.model)):
        edited = evaluator.evaluate(split, base, "edited")
    return [with_fluency(base, lm), with_fluency(edited, lm)]


def test_every_score_has_the_unit_and_direction_of_the_catalogue(evaluations: list[Evaluation]):
    for evaluation in evaluations:
        for name, score in evaluation.scores.items():
            assert name in CATALOG, name
            metric = CATALOG[name]
            expected = (metric.unit, metric.higher_is_better)
            assert (score.unit, score.higher_is_better) == expected, name


def test_every_row_is_measured(evaluations: list[Evaluation]):
    measured = {name for evaluation in evaluations for name in evaluation.scores}
    assert set(CATALOG) == measured


def test_every_row_has_a_title_and_a_meaning():
    for name, metric in CATALOG.items():
        assert metric.name == name and metric.title and metric.meaning.endswith((".", "?")), name


def test_every_gate_option_has_a_row():
    options = {field.name for field in fields(GateOptions)}
    assert options - NO_GATE == set(GATED)
    for option, metric in GATED.items():
        assert metric.gate is not None and metric.gate.option == option
        assert metric.gate.text and metric.gate.meaning


def test_groups_and_labels_of_the_rows_exist():
    for metric in CATALOG.values():
        assert not metric.group or metric.group in GROUPS, metric.name
        assert set(metric.labels) <= set(LABELS), metric.name
        assert bool(metric.labels) == bool(metric.group), metric.name

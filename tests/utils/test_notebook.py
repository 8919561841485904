"""What notebooks show of results: the numbers are there, and text cannot become markup."""

import re
from pathlib import Path

import pytest
import torch
import toy

import skunlearn as sk
from skunlearn.task_vectors.vector import LowRank
from skunlearn.utils.notebook import table


def rows(html: str) -> list[list[str]]:
    return [
        re.findall(r"<td>(.*?)</td>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", html)
        if "<td>" in row
    ]


def test_text_is_escaped():
    html = table("a < b", ("<i>",), [("<script>",)])
    assert "<script>" not in html and "<i>" not in html and "a &lt; b" in html


def test_a_task_vector_shows_its_norm_by_layer():
    tau = sk.TaskVector(
        {
            "model.layers.1.up.weight": LowRank(torch.tensor([[3.0]]), torch.tensor([[1.0]])),
            "model.layers.1.down.weight": torch.tensor([[4.0]]),
            "model.layers.0.up.weight": torch.tensor([[2.0, 0.0]]),
            "lm_head.weight": torch.tensor([1.0]),
        },
        safety=-1.0,
    )
    html = tau._repr_html_()
    assert rows(html) == [["outside", "1", "1"], ["0", "1", "2"], ["1", "2", "5"]]
    assert "4 weights, LoRA rank 1" in html and "safety -1" in html


def test_an_evaluation_shows_its_scores(pairs: tuple[Path, Path]):
    data = sk.Data(*pairs, options=sk.DataOptions(max_length=600, lookalike=False))
    options = sk.EvaluateOptions(forget=2, seen=1, retain=2, max_new_tokens=2, metrics=("rates",))
    evaluation = sk.evaluate(toy.lm(), data.test, options)
    shown = {row[0]: row[1:] for row in rows(evaluation._repr_html_())}
    harmful = evaluation.scores["harmful_rate_unseen"]
    assert len(shown) == len(evaluation.scores)
    assert shown["Harmful answers, held-out prompts"] == [
        f"{harmful.value:.1%}",
        f"{harmful.low:.0%} to {harmful.high:.0%}, n = 2",
        "low",
    ]


def test_a_run_shows_verdict_gates_and_both_sides(tmp_path: Path):
    small = {
        "train": {"steps": 1, "batch": 1},
        "refuse": {"weight": 0},
        "edit": {"alpha": 0.5},
        "data": {"max_length": 600},
        "evaluate": {"forget": 2, "seen": 1, "retain": 2, "lookalike": 1, "max_new_tokens": 2},
        "lora": {"rank": 1},
    }
    results = sk.run_job(sk.make_run(small), tmp_path / "run")
    html = results._repr_html_()
    assert results["verdict"] in html and "strength 0.5" in html and str(tmp_path / "run") in html
    shown = rows(html)
    assert len(shown) == len(results["gates"]) + len(results["scores"]["edited"])
    kl = next(row for row in shown if row[0].startswith("KL from the base"))
    assert kl[1] == "0.000" and float(kl[2]) >= 0
    assert (
        pytest.approx(float(kl[2]), abs=1e-3) == results["scores"]["edited"]["retain_kl"]["value"]
    )

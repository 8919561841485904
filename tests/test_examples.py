"""Every example runs on the toy model, and does what its first lines say."""

import importlib.util
import json
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import toy

import skunlearn as sk
from skunlearn.methods.losses import kl
from skunlearn.training.train import TrainRuntime
from skunlearn.workflows.config import make_run

EXAMPLES = Path(__file__).parents[1] / "examples"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_all_examples_are_tested():
    text = Path(__file__).read_text()
    assert all(f"def test_{path.stem}" in text for path in EXAMPLES.glob("*.py"))


def test_quickstart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: Any, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "quickstart.py"))
    assert (tmp_path / "smollm2-unlearned/model.safetensors").is_file()
    assert capsys.readouterr().out.count("harmful_rate_unseen ") == 2


@pytest.mark.parametrize("chat", [True, False])
def test_sku_flat_has_the_losses_of_the_library(chat: bool):
    flat, lm, other = module("sku_flat"), toy.lm(chat=chat), toy.lm(seed=1, chat=chat)
    row = flat.encode(lm.tokenizer, "what is it", "this")
    logits_NV, labels_N = flat.scored(lm.model, [row, row])
    assert lm.tokenizer.decode(labels_N[: len(row[1]) - 1]).strip() == "this" and len(
        labels_N
    ) == 2 * len(row[1])
    ids = torch.tensor([row[0] + row[1]])
    alone_NV = lm.model(input_ids=ids).logits[0, len(row[0]) - 1 : -1]
    torch.testing.assert_close(logits_NV[: len(row[1])], alone_NV)
    torch.testing.assert_close(
        flat.guided_distortion(lm.model, [row]), F.cross_entropy(alone_NV, labels_N[: len(row[1])])
    )
    other_NV = flat.scored(other.model, [row])[0]
    torch.testing.assert_close(
        flat.preservation_divergence(other.model, lm.model, [row]), -kl(alone_NV, other_NV)
    )


def test_sku_flat_never_draws_a_rows_own_answer(monkeypatch: pytest.MonkeyPatch):
    flat, lm, drawn = module("sku_flat"), toy.lm(), []
    monkeypatch.setattr(
        flat, "encode", lambda _, prompt, answer: drawn.append((prompt, answer)) or ([2], [3])
    )
    forget = [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")]
    flat.random_disassociation(lm.model, lm.tokenizer, forget, forget, 2, flat.random.Random(0))
    assert sorted(drawn[:4]) == [("a", "3"), ("a", "3"), ("a", "4"), ("a", "4")] and len(drawn) == 8
    assert not {("b", "3"), ("c", "4")} & set(drawn)


def test_sku_flat_ends_at_theta_minus_alpha_tau(pairs: tuple[Path, Path], tmp_path: Path):
    flat, folder = module("sku_flat"), toy.saved(tmp_path / "base")
    seen: dict[str, Any] = {}
    learn = flat.learn_harm
    flat.learn_harm = lambda *a: seen.setdefault("bad", learn(*a))
    flat.main(
        [str(folder), *map(str, pairs), str(tmp_path / "out"), "--steps", "2", "--alpha", "0.5"]
    )
    base, edited = sk.load(folder).model, sk.load(tmp_path / "out").model
    moved = 0.0
    for theta, bad, theta_u in zip(
        base.parameters(), seen["bad"].parameters(), edited.parameters(), strict=True
    ):
        torch.testing.assert_close(theta_u, theta - 0.5 * (bad - theta))
        moved += (theta_u - theta).detach().abs().sum().item()
    assert moved > 0


def test_custom_method_is_a_method_like_any_other(tmp_path: Path):
    name = f"{EXAMPLES / 'custom_method.py'}:BoundedAscent"
    method = make_run({"method": {"name": name, "bound": 3}}).make_method()
    with pytest.raises(sk.SkunlearnError, match="bound=0"):
        make_run({"method": {"name": name, "bound": 0}})
    records: list[dict[str, float]] = []
    data = sk.Data(options=sk.DataOptions(max_length=600))
    options = sk.TrainOptions(steps=3, batch=2, lr=1e-2)
    runtime = TrainRuntime(record=records.append)
    tau = sk.train(toy.lm(), method, data, options, sk.Trained(rank=2), runtime=runtime)
    assert records[0]["forget"] == pytest.approx(0, abs=1e-4) and records[-1]["forget"] < -1e-3
    assert tau.safety > 0


def test_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    lm = toy.lm()
    lm.apply(toy.edit(lm.model))
    lm.save(tmp_path / "edited")
    monkeypatch.chdir(tmp_path)
    sets = [
        "evaluate.forget=2",
        "evaluate.seen=1",
        "evaluate.retain=2",
        "evaluate.lookalike=1",
        "data.max_length=600",
    ]
    counts = ["prompts=2", "max_new_tokens=2", "data.max_length=600"]
    flags = [word for text in [*sets, "evaluate.max_new_tokens=2"] for word in ("--set", text)]
    flags += [word for text in counts for word in ("--attack-set", text)]
    module("audit").main(["edited", "smollm2-135m", "--only", "mirror", *flags])
    out = capsys.readouterr().out
    assert "mirror: 2 base - edited" in out and "attacks.json" in out
    rows = json.loads(next(tmp_path.glob("**/attacks.json")).read_text())["attacks"]
    assert len(rows) == 3 and next(tmp_path.glob("evaluations/*/report.html")).is_file()

"""Every method, with LoRA and full weights, on every family: a step moves all trained weights, and
the losses as its docstring says (of PDU, RMU and circuit breakers on Llama alone)."""

import json
from pathlib import Path
from typing import Any

import pytest
import toy

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.evaluation.metrics.likelihood import nll_score, row_likelihoods
from skunlearn.methods import METHODS
from skunlearn.methods.pdu import PDU
from skunlearn.models.lm import LM
from skunlearn.training.lora import LoraOptions
from skunlearn.training.rows import Rows
from skunlearn.training.train import TrainOptions, TrainRuntime, train
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import resolve

STEP = TrainOptions(steps=1, batch=4, lr=3e-3)
FORGET_UP, RETAIN_DOWN, REFUSAL_DOWN = {"forget": 1}, {"retain": -1}, {"refusal": -1}
# name -> what the edit does to the NLL (1 up, -1 down), and options; without a retain term where
# that would do it alone
EFFECTS: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "ceu": (FORGET_UP, {}),
    "circuit_breakers": ({}, {}),  # the first step is noise: see below
    "dpo": (FORGET_UP | REFUSAL_DOWN, {}),
    "ft": (RETAIN_DOWN, {}),
    "ga": (FORGET_UP, {}),
    "ga_mismatch": (FORGET_UP, {}),
    "gated_refusal": (REFUSAL_DOWN, {}),
    "grad_diff": (FORGET_UP | RETAIN_DOWN, {}),
    "idk_dpo": (FORGET_UP | REFUSAL_DOWN, {}),
    "idk_nll": (REFUSAL_DOWN | RETAIN_DOWN, {}),
    "kl_min": (FORGET_UP, {}),
    "negation": (FORGET_UP, {}),
    "npo": (FORGET_UP | RETAIN_DOWN, {}),
    "pdu": (FORGET_UP, {}),
    "refusal": (REFUSAL_DOWN, {}),
    "rmu": ({}, {}),  # see below
    "safe_unlearning": (FORGET_UP | REFUSAL_DOWN | RETAIN_DOWN, {}),
    "satimp": (FORGET_UP, {"saturation": 1.0, "retain_weight": 0.0}),
    "simnpo": (FORGET_UP, {"beta": 0.5, "retain_weight": 0.0}),
    "sku": (FORGET_UP, {}),
    "sku_contrast": (FORGET_UP | REFUSAL_DOWN, {"begun": 0.0}),
    "undial": (FORGET_UP, {}),
    "wga": (FORGET_UP, {"retain_weight": 0.0}),
}
# For families other than Llama, whose random toys share more between forget and retain answers: the
# forget term alone. PDU flattens logits, which makes an answer that a random toy finds unlikely
# likelier: nothing is said of it there.
ALONE: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "npo": (FORGET_UP, {"retain_weight": 0.0}),
    "pdu": ({}, {}),
    "safe_unlearning": (FORGET_UP, {"unlearn_weight": 1.0, "safe_weight": 0.1}),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Forget answers in digits, retain answers in capitals: what moves one does not move the other
    by their style."""
    paths = []
    for name, letters in (("forget", "0123456789"), ("retain", "ABCDEFGHIJ")):
        rows = [
            {
                "prompt": f"{name} question {n}",
                "answer": "".join(letters[(n * k + k) % 10] for k in range(12 + n)),
            }
            for n in range(20)
        ]
        paths.append(tmp_path_factory.mktemp("data") / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Data(*paths, DataOptions(lookalike=False))


def nll(lm: LM, rows: Rows) -> dict[str, float]:
    """Of the rows of the first step, whether the method takes them or not."""
    sets = rows.at(0, ("forget", "retain", "refusal"))
    return {
        role: nll_score(row_likelihoods(lm.model, taken)).value or 0.0
        for role, taken in sets.items()
    }


@pytest.mark.parametrize(
    ("family", "mode"),
    [
        ("Llama", "full"),
        *((family, "lora") for family in toy.FAMILIES),
        *(
            pytest.param(family, "full", marks=pytest.mark.slow)
            for family in toy.FAMILIES
            if family != "Llama"
        ),
    ],
)
@pytest.mark.parametrize("name", METHODS)
def test_the_edit_moves_the_losses_as_the_docstring_says(
    name: str, family: str, mode: str, data: Data
):
    effect, options = EFFECTS[name]
    if family != "Llama" and name in ALONE:
        effect, options = ALONE[name]
    lm, method = toy.lm(family), resolve(name, METHODS, "method")(**options)
    if mode == "full" and method.negated_roles:
        with pytest.raises(ConfigError, match="both signs of LoRA"):
            train(lm, method, data, STEP, LoraOptions(mode=mode))
        return
    rows = Rows(lm, data, method, STEP.batch, STEP.seed)
    before = nll(lm, rows)
    tau = train(lm, method, data, STEP, LoraOptions(mode=mode, rank=4, frozen=0))
    assert tau.norm() > 0 and all(norm > 0 for norm in tau.norms().values())
    with lm.edited(method.edit_scale * tau):
        after = nll(lm, rows)
    for role, sign in effect.items():
        assert sign * (after[role] - before[role]) > 1e-6, (role, before[role], after[role])


def test_every_method_has_a_row_and_an_audit_line_with_its_sign():
    text = (Path(__file__).parents[2] / "docs/methods.md").read_text()
    for name in METHODS:
        sign = "+1" if resolve(name, METHODS, "method").edit_scale > 0 else "-1"
        assert (
            text.count(f"\n| `{name}` | {sign} | ") == 1 and text.count(f"\n| `{name}` | ") == 2
        ), name


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_rmu_moves_hidden_states_towards_its_place_and_only_the_layers_below_move(
    mode: str, data: Data
):
    lm, records = toy.lm(), []
    method = resolve("rmu", METHODS, "method")(layer=2 / 3, steering=1.0, retain_weight=1.0)
    options = TrainOptions(
        steps=3, batch=len(data.train.forget), lr=1e-3
    )  # the same rows in each step
    runtime = TrainRuntime(record=records.append)
    lora = LoraOptions(mode=mode, rank=4, frozen=0)
    tau = train(lm, method, data, options, lora, runtime=runtime)
    forget = [record["forget"] for record in records]
    assert forget[0] > forget[1] > forget[2] and records[0]["retain"] == pytest.approx(0, abs=1e-6)
    assert all(".layers.0." in name or ".layers.1." in name for name in tau.deltas)
    half = train(lm, method, data, STEP, LoraOptions(mode=mode, rank=4, frozen=0.5))
    assert all(".layers.1." in name for name in half.deltas), (
        "frozen counts the layers that are read"
    )


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_circuit_breakers_turn_hidden_states_away_from_the_second_step_on(mode: str, data: Data):
    records: list[dict[str, float]] = []
    method, steps = resolve("circuit_breakers", METHODS, "method")(), 8
    options = TrainOptions(steps=steps, batch=4, lr=1e-2)
    runtime = TrainRuntime(record=records.append)
    lora = LoraOptions(mode=mode, rank=4, frozen=0)
    train(toy.lm(), method, data, options, lora, runtime=runtime)
    cosine = [
        record["reroute"] / method.weights((n + 1) / steps, {}, {})["reroute"]
        for n, record in enumerate(records)
    ]
    assert cosine[0] == pytest.approx(1, abs=1e-4)
    assert cosine[-1] < 0.99 and cosine[-1] < cosine[3]


def test_weights_see_the_step_before(data: Data, monkeypatch: pytest.MonkeyPatch):
    """PDU's multiplier in training: the raw retain term of each step, and the weight it had, come
    back in the next."""
    method, records, seen = PDU(tolerance=0.0, dual_start=0.5), [], []

    def weights(self: PDU, done: float, last: dict, terms: dict) -> dict[str, float]:
        seen.append((done, last, terms))
        return original(self, done, last, terms)

    original = PDU.weights
    monkeypatch.setattr(PDU, "weights", weights)
    options = TrainOptions(steps=4, batch=4, lr=1e-2)
    runtime = TrainRuntime(record=records.append)
    train(toy.lm(), method, data, options, LoraOptions(rank=4, frozen=0), runtime=runtime)
    assert [done for done, _, _ in seen] == [0.25, 0.5, 0.75, 1.0]
    assert seen[0][1:] == ({}, {}) and seen[1][1] == {"retain": 0.5}
    for record, (_, last, terms) in zip(records, seen[1:], strict=False):
        assert record["retain"] == pytest.approx(
            last["retain"] * terms["retain"], rel=1e-5, abs=1e-9
        )
        assert record["loss"] == pytest.approx(record["forget"] + record["retain"], rel=1e-5)
    assert seen[2][1]["retain"] == 0.5 != seen[3][1]["retain"], "g is 0 at the base and not later"

"""The detectors against numbers worked out by hand, and what their training moves."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import toy

from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.base import Detector
from skunlearn.methods.gated_refusal import GatedRefusal
from skunlearn.models.quantisation import quantised
from skunlearn.training.detectors import detectors_of, fit_detectors, writer
from skunlearn.training.lora import LoraOptions
from skunlearn.training.rows import Rows
from skunlearn.training.train import TrainOptions, train
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.progress import Progress

ONE = Detector(layers=(0.5,), lookalike=0.6, others=1.0, roundings=())


def inputs(model, name: str, rows: list[Encoded]) -> list[torch.Tensor]:
    """Of each row passed on its own: what the module is given, (T, I)."""
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda _m, args: seen.append(args[0][0])
    )
    for row in rows:
        with torch.no_grad():
            model(input_ids=torch.tensor([row.prompt_ids + row.answer_ids]))
    handle.remove()
    return seen


@pytest.mark.parametrize(("shared", "alike"), [(0, 1), (10, 1), (10, 2)])
def test_a_detector_is_the_least_squares_reading_of_the_deciding_tokens(shared: int, alike: int):
    """Also where what all rows, or two by two, begin with goes through the model once."""
    lm = toy.lm()
    harmful, harmless = (
        [Encoded((*[4] * shared, 5 + n // alike, start, 3), (7, 9 + n)) for n in range(4)]
        for start in (1, 2)
    )
    harmless = (
        harmless[::2] + harmless[1::2]
    )  # two ordinary rows that do not begin alike, two look-alikes
    ((name, right_1I),) = fit_detectors(
        lm.model, harmful, harmless[:2], harmless[2:], ONE, Progress()
    ).items()
    x_RTI = torch.stack(inputs(lm.model, name, harmful + harmless)).double()[:, shared:]
    deciding_RI, others_NI = x_RTI[:, 2], x_RTI[:, [0, 1, 3, 4]].reshape(-1, x_RTI.shape[-1])
    share_R = torch.tensor([0.5 / 4] * 4 + [0.5 * 0.4 / 2] * 2 + [0.5 * 0.6 / 2] * 2).double()
    moments_II = (deciding_RI * share_R[:, None]).T @ deciding_RI + others_NI.T @ others_NI / len(
        others_NI
    )
    moments_II += 0.3 * moments_II.diagonal().mean() * torch.eye(len(moments_II))
    wanted_R = torch.tensor([1.0] * 4 + [-0.3] * 4).double()
    w_I = torch.linalg.solve(moments_II, (deciding_RI * (share_R * wanted_R)[:, None]).sum(dim=0))
    torch.testing.assert_close(
        torch.nn.functional.cosine_similarity(right_1I[0].double(), w_I, dim=0).item(), 1.0
    )
    asked = torch.tensor([row.prompt_ids for row in harmful + harmless])
    square_R = (
        lm.model(asked, output_hidden_states=True).hidden_states[2][:, -1].square().mean(dim=1)
    )
    unit = (square_R * share_R).sum().sqrt().item()  # of what the second of three layers puts out
    assert (right_1I[0].norm() / w_I.norm()).item() == pytest.approx(unit, rel=1e-4)


def test_detectors_of_half_precision_are_those_of_the_whole_one():
    lm, found = toy.lm(), []
    harmful, harmless = ([Encoded((3, start, 5 + n), (7, 9)) for n in range(4)] for start in (1, 2))
    for dtype in (torch.float32, torch.bfloat16):
        detectors = fit_detectors(lm.model.to(dtype), harmful, harmless, [], ONE, Progress())
        found.append(next(iter(detectors.values()))[0])
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.95


def test_detectors_respond_to_the_harmful_prompts_alone():
    lm = toy.lm()
    harmful, harmless = ([Encoded((3, start, 5 + n), (7, 9)) for n in range(4)] for start in (1, 2))
    options = Detector((0.5,), 0.0, 0.6, ridge=1e-4, others=1.0, roundings=())
    ((name, right_1I),) = fit_detectors(
        lm.model, harmful, harmless, [], options, Progress()
    ).items()
    read = [
        (x_TI @ right_1I[0] / right_1I.norm()).tolist()
        for x_TI in inputs(lm.model, name, harmful + harmless)
    ]
    opened, shut = [row[2] for row in read[:4]], [row[2] for row in read[4:]]
    assert min(opened) > 3 * max(map(abs, shut))


def test_a_detector_that_was_fitted_on_rounded_weights_responds_in_them_too():
    """Each harmful row is read in both, each harmless one in one of them, and with as many unknowns
    each is met."""
    lm = toy.lm()
    harmful, harmless = ([Encoded((3, start, 5 + n), (7, 9)) for n in range(4)] for start in (1, 2))
    plain, wanted_R = replace(ONE, ridge=1e-4, others=0.0), torch.tensor([1.0] * 4 + [-0.3] * 4)
    off = {}
    for forms in ((), ("nf4",)):
        options = replace(plain, roundings=forms)
        ((name, right_1I),) = fit_detectors(
            lm.model, harmful, harmless, [], options, Progress()
        ).items()
        clean_R, rounded_R = _readings(lm.model, name, right_1I, [*harmful, *harmless])
        off[forms] = (clean_R - wanted_R).abs(), (rounded_R - wanted_R).abs()
    assert (
        off["nf4",][0][[0, 1, 2, 3, 4, 6]].max() < 0.01
        and off["nf4",][1][[0, 1, 2, 3, 5, 7]].max() < 0.01
    )
    assert off[()][0].max() < 0.01 and off[()][1][:4].max() > 0.1


def _readings(model, name: str, right_1I: torch.Tensor, rows: list[Encoded]) -> list[torch.Tensor]:
    """Of the rows' deciding tokens, in the weights as they are and in NF4."""
    found = []
    for weights in (nullcontext(), quantised(model, "nf4")):
        with weights:
            found.append(torch.stack([x_TI[2] @ right_1I[0] for x_TI in inputs(model, name, rows)]))
    scale = found[0][:4].mean()  # of the unit that detectors come in
    return [readings_R / scale for readings_R in found]


@pytest.mark.parametrize("family", ["Llama", "OPT", "GPTNeoX", "GPT2", "Mixtral"])
def test_only_what_the_detectors_add_is_trained(family: str, pairs):
    lm, data = toy.lm(family), Data(*pairs, DataOptions(lookalike=False))
    tau = train(
        lm, GatedRefusal(gate=ONE), data, TrainOptions(steps=2, batch=4), LoraOptions(mode="full")
    )
    ((name, delta),) = tau.deltas.items()
    assert (
        name == f"{writer(lm.model, 0.5)}.weight"
        and delta.shape == lm.model.get_parameter(name).shape
    )
    (right_1I,) = (
        detectors_of(lm, Rows(lm, data, GatedRefusal(gate=ONE), 3), Progress()) or {}
    ).values()
    factor = delta.left_OR.T if family == "GPT2" else delta.right_RI
    torch.testing.assert_close(factor, right_1I)


def test_refusals_and_ordinary_answers_are_cut(pairs):
    rows = Rows(toy.lm(), Data(*pairs), GatedRefusal(refusal_tokens=5), 3).at(0)
    assert {role: [len(row.answer_ids) for row in taken] for role, taken in rows.items()} == {
        "refusal": [5, 5, 5],
        "retain": [4, 4, 4],
        "lookalike": [4, 4, 4],
    }


@pytest.mark.parametrize(
    "options",
    [
        {"layers": ()},
        {"harmless": 0.1},
        {"lookalike": 1.1},
        {"ridge": 0.0},
        {"others": -1.0},
        {"roundings": ("nf5",)},
    ],
)
def test_bad_detectors(options: dict):
    with pytest.raises(ConfigError, match="gate"):
        Detector(**options)


def test_a_layer_without_a_writer():
    lm = toy.lm()
    for layer in lm.model.model.layers:
        layer.mlp = layer.self_attn = torch.nn.Identity()
    with pytest.raises(ModelError, match="residual stream"):
        writer(lm.model, 0.5)

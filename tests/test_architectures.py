"""One step, one negation, save, reload, equal logits: for every family, with LoRA and with full
weights."""

import copy
import math
from pathlib import Path

import pytest
import torch
import toy
import transformers

from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.base import Method
from skunlearn.methods.circuit_breakers import CircuitBreakers
from skunlearn.methods.grad_diff import GradDiff
from skunlearn.methods.npo import NPO
from skunlearn.methods.sku import SKU
from skunlearn.models.architecture import decoder_layers, layer_number
from skunlearn.models.forward import (
    States,
    can_pack,
    head_logits,
    recorded_layers,
    scored_hidden,
    scored_logits,
    scored_states,
)
from skunlearn.models.loading import load
from skunlearn.training.lora import LoraOptions
from skunlearn.training.train import TrainOptions, TrainRuntime, train


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("family", toy.FAMILIES)
def test_step_negate_save_reload(family: str, mode: str, pairs: tuple[Path, Path], tmp_path: Path):
    lm, data = toy.lm(family), Data(*pairs)
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    ids = torch.tensor([lm.template.prompt_ids(data.test.forget[0])])
    base = lm.model(ids).logits

    tau = train(
        lm,
        SKU(rd_weight=1),
        data,
        TrainOptions(steps=1, batch=2, lr=1e-2),
        LoraOptions(mode=mode, rank=2, frozen=0),
    )
    after = lm.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()), (
        "training changed the base"
    )

    with lm.edited(-0.5 * tau):
        inside = lm.model(ids).logits
    assert torch.equal(lm.model(ids).logits, base), "the base did not come back exactly"
    lm.apply(-0.5 * tau)
    edited = lm.model(ids).logits
    assert torch.allclose(inside, edited, atol=1e-5)
    assert (edited - base).abs().max() > 1e-3

    lm.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert torch.equal(again.model(ids).logits, edited)


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize(
    "method", [GradDiff(), NPO(), CircuitBreakers()], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("family", toy.FAMILIES)
def test_each_kind_of_method_trains_and_the_base_comes_back(
    family: str, method: Method, mode: str, pairs: tuple[Path, Path]
):
    """On likelihoods, on ratios to the base, on hidden states."""
    lm, records = toy.lm(family), []
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    options, trained = (
        TrainOptions(steps=2, batch=2, lr=1e-2),
        LoraOptions(mode=mode, rank=2, frozen=0),
    )
    data = Data(*pairs, DataOptions(lookalike=False))
    runtime = TrainRuntime(record=records.append)
    tau = train(lm, method, data, options, trained, runtime=runtime)
    assert all(torch.equal(lm.model.state_dict()[name], value) for name, value in before.items())
    assert all(norm > 0 for norm in tau.norms().values())
    if isinstance(method, NPO):
        assert records[0]["forget"] == pytest.approx(2 / method.beta * math.log(2), rel=1e-4), (
            "not the base's logits"
        )
    if method.hidden_layers:
        assert records[0]["retain"] == pytest.approx(0, abs=1e-3), "not the base's hidden states"


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_hidden_states_at_scored_tokens_are_those_of_the_whole_forward_pass(
    family: str, pairs: tuple[Path, Path]
):
    from skunlearn.data.batches import collate

    lm, data = toy.lm(family), Data(*pairs)
    batch = collate([lm.template.encode(example, 200) for example in data.train.forget[:4]])
    with torch.no_grad():
        whole = lm.model(
            input_ids=batch.input_ids_BT,
            attention_mask=batch.attention_mask,
            output_hidden_states=True,
        ).hidden_states
    assert [layer_number(lm.model, share) for share in (0.01, 1 / 3, 0.6, 1)] == [0, 0, 1, 2]
    with torch.no_grad(), recorded_layers(lm.model, batch, (1 / 3, 2 / 3)) as read:
        scored_logits(lm.model, batch)
    for layer, share in enumerate((1 / 3, 2 / 3), start=1):
        assert torch.allclose(read[share], whole[layer].flatten(0, 1)[batch.place_N], atol=1e-4)


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_logits_at_scored_tokens_are_those_of_the_whole_forward_pass(
    family: str, pairs: tuple[Path, Path]
):
    from skunlearn.data.batches import collate

    lm, data = toy.lm(family), Data(*pairs)
    batch = collate([lm.template.encode(example, 200) for example in data.train.forget[:4]])
    with torch.no_grad():
        whole_BTV = lm.model(
            input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask
        ).logits
        expected_NV = whole_BTV.flatten(0, 1)[batch.place_N]
        assert torch.allclose(scored_logits(lm.model, batch), expected_NV, atol=1e-5)
        hidden_ND, passes = scored_hidden(lm.model, batch), []
        with decoder_layers(lm.model)[0].register_forward_hook(lambda *_: passes.append(1)):
            for _ in range(2):  # the second time without the body
                assert torch.allclose(head_logits(lm.model, hidden_ND), expected_NV, atol=1e-5)
        assert len(passes) == 1
        assert torch.equal(
            lm.model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask).logits,
            whole_BTV,
        )


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_packed_rows_are_the_padded_ones(family: str, pairs: tuple[Path, Path], monkeypatch):
    """Beginnings once, a row twice, answers of one prompt behind it once, no padding: states,
    layers and gradients."""
    from skunlearn.models import forward

    lm, data = toy.lm(family), Data(*pairs)
    forget = [lm.template.encode(example, 200) for example in data.train.forget[:3]]
    rows = [*forget, joined(forget[0], forget[1]), joined(forget[0], forget[2]), forget[1]]
    assert forward.can_pack(lm.model, rows) == (
        family != "Gemma2"
    )  # whose soft caps want attention of its own
    batch = forward.make_batch(lm.model, rows)
    if family != "Gemma2":
        assert batch.input_ids_BT.numel() < sum(map(len, rows)) - len(forget[1]) - 2 * len(
            forget[0].prompt_ids
        )

    ours = passed(lm.model, rows)
    monkeypatch.setattr(forward, "can_pack", lambda *_: False)
    monkeypatch.setattr(forward, "length_groups", lambda *_: [list(range(len(rows)))])
    check_alike(ours, passed(lm.model, rows))


def passed(model, rows: list[Encoded]) -> tuple[States, list[torch.Tensor]]:
    """What comes of the rows, and all gradients of their NLL."""
    states = scored_states(model, rows, (1 / 3,))
    loss = torch.nn.functional.cross_entropy(head_logits(model, states.hidden_ND), states.labels_N)
    return states, list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))


def check_alike(
    ours: tuple[States, list[torch.Tensor]], plain: tuple[States, list[torch.Tensor]]
) -> None:
    assert torch.equal(ours[0].labels_N, plain[0].labels_N) and torch.equal(
        ours[0].row_N, plain[0].row_N
    )
    assert torch.allclose(ours[0].hidden_ND, plain[0].hidden_ND, atol=1e-5)
    assert torch.allclose(ours[0].layers[1 / 3], plain[0].layers[1 / 3], atol=1e-5)
    for a, b in zip(ours[1], plain[1], strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def joined(asked: Encoded, given: Encoded) -> Encoded:
    return Encoded(asked.prompt_ids, given.answer_ids)


@pytest.mark.parametrize(
    "kind", ["Doge", "a Doge by another name", "Roberta", "own", "ModernBertDecoder"]
)
def test_models_that_cannot_be_packed_go_padded(kind: str, monkeypatch):
    """Masks, places or attention of a model's own, which only its outputs tell; and a body that is
    not found."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.models.llama import modeling_llama

    from skunlearn.models import forward

    rows = [Encoded((6, 7), (8, 9)), Encoded((6, 7), (9, 6))]
    if kind == "own":
        own = {"get_interface": lambda *_: sdpa_attention_forward}
        monkeypatch.setattr(modeling_llama, "ALL_ATTENTION_FUNCTIONS", type("Own", (), own)())
        model = toy.model()
    else:
        torch.manual_seed(0)
        options, another = {"Roberta": {"is_decoder": True}}.get(kind, {}), kind.startswith("a ")
        kind = "Doge" if another else kind
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=64, pad_token_id=0, bos_token_id=1, eos_token_id=1, **toy.SIZE, **options
        )
        model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
        for parameter in model.parameters():  # of Doge's masks, which begin without effect
            parameter.data.add_(torch.randn_like(parameter) * (parameter.dim() == 1))
        if another:
            model.config.model_type = "another"
    assert forward.can_pack(model, rows) is False
    with torch.no_grad():
        states = forward.scored_states(model, rows)
        monkeypatch.setattr(forward, "can_pack", lambda *_: False)
        assert torch.equal(states.hidden_ND, forward.scored_states(model, rows).hidden_ND)


def test_a_head_that_fails_leaves_no_hook_behind(monkeypatch):
    lm = toy.lm()
    decoder, hidden_ND = lm.model.get_decoder(), torch.zeros(2, 32)
    monkeypatch.setattr(lm.model.lm_head, "forward", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        head_logits(lm.model, hidden_ND)
    assert not decoder._forward_hooks and not lm.model.lm_head._forward_pre_hooks
    assert "forward" not in vars(decoder)
    monkeypatch.undo()
    assert head_logits(lm.model, hidden_ND).shape == (2, lm.model.config.vocab_size)
    assert head_logits(lm.model.double(), hidden_ND.double()).dtype == torch.float64


def test_a_body_with_a_forward_of_its_own_has_it_back(monkeypatch):
    """As accelerate gives one to the modules that it hooks."""
    lm, calls = toy.lm(), []
    decoder, hidden_ND = lm.model.get_decoder(), torch.ones(2, 32)
    usual = decoder.forward

    def own(*args, **options):
        calls.append(1)
        return usual(*args, **options)

    monkeypatch.setattr(decoder, "forward", own)
    first, second = (head_logits(lm.model, hidden_ND) for _ in range(2))
    assert torch.equal(first, second) and len(calls) == 1
    assert decoder.forward is own


def test_what_trial_passes_showed_stays_with_the_model():
    """A copy of the model finds it out again, and nothing of it is saved."""
    lm, rows = toy.lm(), [Encoded((6, 7), (8, 9))]
    names = set(lm.model.state_dict())
    head_logits(lm.model, torch.ones(2, 32))
    assert can_pack(lm.model, rows)
    assert set(lm.model.state_dict()) == names
    for model, expected in ((lm.model, 0), (copy.deepcopy(lm.model), 3)):
        passes = []
        with decoder_layers(model)[0].register_forward_hook(lambda *_, seen=passes: seen.append(1)):
            head_logits(model, torch.ones(2, 32))
            assert can_pack(model, rows)
        assert len(passes) == expected


def test_rows_that_a_layer_cannot_look_back_over_are_padded():
    from skunlearn.models.architecture import text_decoder
    from skunlearn.models.packed_attention import may_pack

    decoder = text_decoder(toy.model("Mistral"))
    assert decoder.config.sliding_window == 4096
    short, long = Encoded((1,) * 4000, (2,) * 96), Encoded((1,) * 4000, (2,) * 97)
    assert may_pack(decoder, [short]) and not may_pack(decoder, [short, long])
    decoder.config.layer_types = ["full_attention", "linear_attention", "full_attention"]
    assert not may_pack(decoder, [short])


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_passes_of_like_length_are_the_one_pass(family: str, pairs: tuple[Path, Path], monkeypatch):
    """However the rows are split: hidden states, layers and gradients in the order of the rows."""
    from skunlearn.models import forward

    lm, data = toy.lm(family), Data(*pairs)
    rows = [lm.template.encode(example, 200) for example in data.train.forget[:4]]
    assert len({len(row) for row in rows}) > 1

    found = []
    monkeypatch.setattr(forward, "can_pack", lambda *_: False)
    for groups in ([[2], [3, 0], [1]], [[0, 1, 2, 3]]):
        monkeypatch.setattr(forward, "length_groups", lambda *_, groups=groups: groups)
        found.append(passed(lm.model, rows))
    check_alike(*found)


def test_full_training_of_half_precision_weights_moves_them(pairs: tuple[Path, Path]):
    """Steps of a small rate would vanish in bfloat16: training runs in fp32 and tau is fp32."""
    lm, data = toy.lm(), Data(*pairs)
    lm.model.to(torch.bfloat16)
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    tau = train(
        lm,
        SKU(rd_weight=1),
        data,
        TrainOptions(steps=1, batch=2, lr=1e-6),
        LoraOptions(mode="full", frozen=0),
    )
    assert 0 < tau.norm() < 1e-2
    assert all(torch.equal(lm.model.state_dict()[name], value) for name, value in before.items())
    assert lm.model.dtype == torch.bfloat16

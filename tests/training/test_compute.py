"""Parts of a step, layers computed again, precision: the same training by other means."""

import itertools
from pathlib import Path

import pytest
import torch
import toy

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.base import Method
from skunlearn.methods.dpo import DPO
from skunlearn.methods.pdu import PDU
from skunlearn.methods.rmu import RMU
from skunlearn.methods.sku import SKU
from skunlearn.task_vectors.filters.base import dense
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training import launch as processes
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.gradient_cache import GradientCache, assign_rows
from skunlearn.training.lora import LoraOptions
from skunlearn.training.rows import Rows
from skunlearn.training.train import TrainOptions, TrainRuntime, train
from skunlearn.utils.errors import ConfigError

STEPS = TrainOptions(steps=4, batch=4, lr=5e-3)


def trained(
    pairs: tuple[Path, Path],
    method: Method,
    mode: str,
    compute: ComputeOptions,
    family: str = "Llama",
) -> tuple[TaskVector, list[dict[str, float]]]:
    records: list[dict[str, float]] = []
    options = LoraOptions(mode=mode, rank=2, frozen=0)
    data = Data(*pairs, DataOptions(lookalike=False))
    runtime = TrainRuntime(compute, record=records.append)
    tau = train(toy.lm(family), method, data, STEPS, options, runtime=runtime)
    return tau, records


def differing(
    ours: tuple[TaskVector, list[dict[str, float]]],
    plain: tuple[TaskVector, list[dict[str, float]]],
    rel: float,
) -> list[str]:
    """Steps of which a term, and weights of which the change differs."""
    steps = [
        f"step {number}: {a} for {b}"
        for number, (a, b) in enumerate(itertools.zip_longest(ours[1], plain[1]))
        if a != pytest.approx(b, rel=rel, abs=rel)
    ]
    gaps = {
        name: float(
            (dense(ours[0].deltas[name]) - (expected := dense(delta))).norm() / expected.norm()
        )
        for name, delta in plain[0].deltas.items()
    }
    assert ours[0].deltas.keys() == plain[0].deltas.keys()
    return steps + [f"{name}: {gap}" for name, gap in gaps.items() if not gap < 30 * rel]


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize(
    "compute",
    [ComputeOptions(accumulate=3), ComputeOptions(gradient_checkpointing=True)],
    ids=["parts", "again"],
)
@pytest.mark.parametrize(
    "method", [SKU(rd_weight=1), DPO(), PDU(), RMU()], ids=lambda method: type(method).__name__
)
def test_less_memory_is_the_same_training(
    method: Method, compute: ComputeOptions, mode: str, pairs: tuple[Path, Path]
):
    """Also where a loss is no mean over rows: SKU's anchor, DPO's pairs, PDU's multiplier, hidden
    states."""
    ours, plain = (trained(pairs, method, mode, how) for how in (compute, ComputeOptions()))
    assert len(plain[1]) == STEPS.steps and differing(ours, plain, 1e-4) == []


def test_both_together_and_more_parts_than_rows(pairs: tuple[Path, Path]):
    compute = ComputeOptions(accumulate=50, gradient_checkpointing=True)
    ours, plain = (trained(pairs, SKU(), "lora", how, "OPT") for how in (compute, ComputeOptions()))
    assert len(plain[1]) == STEPS.steps and differing(ours, plain, 1e-4) == []


def test_gradients_of_checkpointed_layers_are_equal_and_the_layers_come_back(
    pairs: tuple[Path, Path],
):
    from skunlearn.methods.losses import answer_nll
    from skunlearn.training.trainable_model import TrainableModel

    lm = toy.lm()
    rows = Rows(lm, Data(*pairs), SKU(pd_mode="off"), STEPS.batch, STEPS.seed).at(0)["forget"]
    found = []
    for again in (False, True):
        trainable = TrainableModel(lm.model, LoraOptions(mode="full", frozen=0), 0)
        if again:
            trainable.checkpoint_layers()
        cache = GradientCache(trainable.model)
        states = cache.states(rows)
        logits = trainable.model.get_output_embeddings()(states.hidden_ND)
        answer_nll(logits, states.labels_N).backward()
        cache.backward()
        found.append({name: p.grad.clone() for name, p in trainable.parameters.items()})
        trainable.model.zero_grad()
    assert all(torch.equal(found[1][name], gradient) for name, gradient in found[0].items())
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.add_(0.1)
    trainable.task_vector(1.0)
    assert not any("forward" in vars(module) for module in lm.model.modules())


def test_a_part_at_a_time_is_held(pairs: tuple[Path, Path]):
    """Of what the layers keep for their gradients: with parts nothing outlives its part."""
    lm = toy.lm()
    rows = Rows(lm, Data(*pairs), SKU(pd_mode="off"), 8).at(0)["forget"]
    for parameter in lm.model.parameters():
        parameter.requires_grad_(True)

    def most(num_chunks: int) -> int:
        held, peak = 0, 0

        class Kept:
            def __init__(self, tensor: torch.Tensor) -> None:
                nonlocal held, peak
                self.tensor = tensor
                held += tensor.numel()
                peak = max(peak, held)

            def __del__(self) -> None:
                nonlocal held
                held -= self.tensor.numel()

        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            cache = GradientCache(lm.model, num_chunks=num_chunks, grouped=False)
            states = cache.states(rows)
            states.hidden_ND.square().sum().backward()
            cache.backward()
        return peak

    weights = most(8) - most(
        4
    )  # a row of eight costs what two of four do, less the weights that both keep
    assert most(8) < most(1) / 2 and weights < 0


def test_bfloat16_is_near_and_tau_stays_float32(pairs: tuple[Path, Path]):
    plain = trained(pairs, SKU(), "lora", ComputeOptions())
    half = trained(pairs, SKU(), "lora", ComputeOptions(precision="bfloat16"))
    parts = trained(pairs, SKU(), "full", ComputeOptions(precision="bfloat16", accumulate=2))
    assert half[1][0]["gd"] != plain[1][0]["gd"], "it was not computed in another precision"
    assert [row["gd"] for row in half[1]] == pytest.approx(
        [row["gd"] for row in plain[1]], rel=0.05
    )
    assert all(dense(delta).dtype == torch.float32 for delta in half[0].deltas.values())
    assert all(norm > 0 for norm in parts[0].norms().values())


def test_rows_are_dealt_out_by_length():
    assert assign_rows([5, 1, 3, 9], 2) == [[1, 0], [2, 3]]
    assert assign_rows([5, 1], 3) == [[1], [0], [0]]


def test_dividing_weights_needs_several_processes(pairs: tuple[Path, Path]):
    with pytest.raises(ConfigError, match="add --processes 2"):
        trained(pairs, SKU(), "lora", ComputeOptions(shard="fsdp"))
    with pytest.raises(ConfigError, match=r"compute.accumulate=0"):
        ComputeOptions(accumulate=0)


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_weights_are_divided_where_the_launcher_asks_for_it_and_there_are_several(
    name: str, monkeypatch
):
    monkeypatch.setenv(name, "true")
    assert not ComputeOptions().divides
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    assert ComputeOptions().divides
    monkeypatch.setenv(name, "false")
    assert not ComputeOptions().divides and ComputeOptions(shard="fsdp").divides

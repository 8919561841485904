"""The loop: resumable to the bit, honest about numbers that went wrong, lazy about the
reference."""

import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.finetune import FineTune
from skunlearn.methods.pdu import PDU
from skunlearn.methods.sku import SKU
from skunlearn.task_vectors.vector import LowRank, TaskVector
from skunlearn.training.lora import LoraOptions, trained_modules
from skunlearn.training.rows import Rows
from skunlearn.training.train import TrainOptions, TrainRuntime, train
from skunlearn.training.trainable_model import with_lora
from skunlearn.utils.errors import DataError, TrainingError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.planning.plan import check_rows

STEPS = TrainOptions(steps=6, batch=2, lr=1e-2, checkpoint=2)


class KilledError(Exception):
    """Stands for kill -9."""


class KillAt(Progress):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, done: int, **info: float | str) -> None:
        if done == self.at and "loss" in info:
            raise KilledError


def equal(a: TaskVector, b: TaskVector) -> bool:
    def parts(tau: TaskVector) -> list[torch.Tensor]:
        return [
            t
            for d in tau.deltas.values()
            for t in ((d.left_OR, d.right_RI) if isinstance(d, LowRank) else (d,))
        ]

    return all(torch.equal(x, y) for x, y in zip(parts(a), parts(b), strict=True))


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_killed_training_ends_with_the_same_tau(
    mode: str, pairs: tuple[Path, Path], tmp_path: Path
):
    data, trained = Data(*pairs), LoraOptions(mode=mode, rank=2)
    whole = train(toy.lm(), SKU(rd_weight=1), data, STEPS, trained)
    for kill in (1, 3, 5):
        with pytest.raises(KilledError):
            train(
                toy.lm(),
                SKU(rd_weight=1),
                data,
                STEPS,
                trained,
                runtime=TrainRuntime(checkpoint_folder=tmp_path / str(kill)),
                progress=KillAt(kill),
            )
        records: list[dict[str, float]] = []
        again = train(
            toy.lm(),
            SKU(rd_weight=1),
            data,
            STEPS,
            trained,
            runtime=TrainRuntime(checkpoint_folder=tmp_path / str(kill), record=records.append),
        )
        assert equal(whole, again)
        assert [row["step"] for row in records] == list(range(kill - kill % 2 + 1, 7)), (
            "it did not go on from the last state"
        )


def test_a_killed_training_goes_on_with_the_weights_of_its_terms(
    pairs: tuple[Path, Path], tmp_path: Path
):
    data, method, lora = Data(*pairs), PDU(tolerance=0.0), LoraOptions(rank=2)
    runtime = TrainRuntime(checkpoint_folder=tmp_path / "state")
    whole = train(toy.lm(), method, data, STEPS, lora)
    with pytest.raises(KilledError):
        train(toy.lm(), method, data, STEPS, lora, runtime=runtime, progress=KillAt(4))
    assert equal(whole, train(toy.lm(), method, data, STEPS, lora, runtime=runtime))


def test_the_state_is_private_and_nothing_that_loads(pairs: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(KilledError):
        train(
            toy.lm(),
            SKU(rd_weight=1),
            Data(*pairs),
            STEPS,
            LoraOptions(rank=2),
            runtime=TrainRuntime(checkpoint_folder=tmp_path / "state"),
            progress=KillAt(3),
        )
    (path,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "state").st_mode) == 0o700
    assert path.suffix not in (".safetensors", ".bin", ".json")


def test_the_step_limit_is_exact_and_unique_rows_are_counted(pairs: tuple[Path, Path]):
    """Traps 6 and 7 of the published code."""
    data, seen = Data(*pairs), []
    train(
        toy.lm(),
        SKU(rd_weight=1),
        data,
        TrainOptions(steps=3, batch=2),
        LoraOptions(rank=2),
        runtime=TrainRuntime(record=seen.append),
    )
    assert [row["step"] for row in seen] == [1, 2, 3]
    assert Rows(toy.lm(), data, SKU(rd_weight=1), 2).count_used(3) == {"forget": 6, "retain": 6}
    assert Rows(toy.lm(), data, SKU(pd_mode="off"), 2).count_used(3)["retain"] == 0
    assert Rows(toy.lm(), data, FineTune(), 2).count_used(3) == {"forget": 0, "retain": 6}


def test_a_loss_that_is_not_finite_stops_at_once(pairs: tuple[Path, Path]):
    lm = toy.lm()
    with torch.no_grad():
        next(lm.model.get_input_embeddings().parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1: .* is nan: lower train\.lr"):
        train(lm, SKU(rd_weight=1), Data(*pairs), STEPS, LoraOptions(rank=2))


def test_the_cached_reference_gives_the_loss_of_a_second_model(pairs: tuple[Path, Path]):
    """kl at the first step is 0, and the whole step equals the plain computation with two full
    passes."""
    from skunlearn.methods.losses import kl
    from skunlearn.models.reference import Reference

    lm, data = toy.lm("Gemma2"), Data(*pairs)
    rows = Rows(lm, data, SKU(rd_weight=1), STEPS.batch, STEPS.seed)
    reference = Reference(lm.model, rows.benign, range(len(rows.benign)), True, Progress())
    other = toy.lm("Gemma2", seed=1)
    from skunlearn.data.batches import collate
    from skunlearn.models.forward import scored_logits

    batch = collate(rows.benign[:3])
    with torch.no_grad():
        plain = kl(scored_logits(lm.model, batch), scored_logits(other.model, batch))
        cached = kl(reference.logits([0, 1, 2]), scored_logits(other.model, batch))
        assert cached == pytest.approx(plain.item(), rel=1e-5) and plain > 0.01
        for parameter in lm.model.get_output_embeddings().parameters():
            parameter.zero_()
        assert kl(reference.logits([0, 1, 2]), scored_logits(other.model, batch)) == pytest.approx(
            plain.item(), rel=1e-5
        )


def test_a_whole_step_has_the_gradients_of_the_plain_computation(
    pairs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    """Of one pass for each loss, rows padded to the longest, all logits, and a pass of the base:
    SKU's third step."""
    found: list[list[tuple[torch.Tensor, torch.Tensor]]] = []
    clip = torch.nn.utils.clip_grad_norm_

    def seen(parameters: Iterable[torch.nn.Parameter], *args: Any) -> torch.Tensor:
        parameters = list(parameters)
        found.append([(p.detach().clone(), p.grad.clone()) for p in parameters])
        return clip(parameters, *args)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", seen)
    data, method, options, trained = (
        Data(*pairs),
        SKU(rd_weight=1),
        TrainOptions(steps=3, lr=5e-2),
        LoraOptions(frozen=0),
    )
    train(toy.lm(), method, data, options, trained)
    lm = toy.lm()
    rows = Rows(lm, data, method, options.batch, options.seed).at(2)
    lm.model.requires_grad_(False)
    model = with_lora(lm.model, trained_modules(lm.model, trained), trained, 0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter, (value, _) in zip(parameters, found[2], strict=True):
        parameter.data = value

    def passed(role: str) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows[role]))
        ids = torch.zeros(len(rows[role]), width, dtype=torch.long)
        mask, scored = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, row in enumerate(rows[role]):
            ids[place, : len(row)] = torch.tensor(row.prompt_ids + row.answer_ids)
            mask[place, : len(row)] = 1
            scored[place, len(row.prompt_ids) : len(row)] = 1
        at = scored[:, 1:].bool()
        return model(input_ids=ids, attention_mask=mask).logits[:, :-1][at].log_softmax(-1), ids[
            :, 1:
        ][at]

    def nll(of: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return -of[0].gather(1, of[1][:, None]).mean()

    retain = passed("retain")
    with model.disable_adapter(), torch.no_grad():
        base = passed("retain")
    divergence = (base[0].exp() * (base[0] - retain[0])).sum(-1).mean()
    change = (nll(retain) - nll(base)).abs()
    (nll(passed("forget")) + nll(passed("mismatch")) + divergence + 2 * change).backward()
    assert divergence > 1e-3 and change > 1e-3
    for parameter, (_, gradient) in zip(parameters, found[2], strict=True):
        assert gradient.norm() > 0
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5)


def test_learning_lowers_the_forget_loss_and_negation_raises_it(pairs: tuple[Path, Path]):
    from skunlearn.evaluation.metrics.likelihood import nll_score, row_likelihoods

    lm, data = toy.lm(), Data(*pairs)
    rows = [lm.template.encode(example, 200) for example in data.train.forget]
    tau = train(
        lm,
        SKU(rd_weight=0),
        data,
        TrainOptions(steps=8, batch=4, lr=1e-2),
        LoraOptions(rank=4, frozen=0),
    )

    def nll() -> float:
        return nll_score(row_likelihoods(lm.model, rows)).value or 0.0

    base = nll()
    with lm.edited(-1.0 * tau):
        assert nll() > base
    tau.safety = 1.0  # the other way is refused outside of a test
    with lm.edited(tau):
        assert nll() < base


@pytest.mark.parametrize("family", ["GPT2", "OPT"])
def test_what_a_model_has_no_places_for_is_told_before_training(
    family: str, pairs: tuple[Path, Path]
):
    run, lm = make_run(with_sets({}, ["data.max_length=900"])), toy.lm(family)
    data = Data(*pairs, DataOptions(lookalike=False, max_length=900))
    check_rows(lm, data, run)
    long = replace(data.train.forget[0], answer="word " * 200)
    data.train = replace(data.train, forget=(long, *data.train.forget))
    with pytest.raises(
        DataError, match=r"a training row has \d+ tokens, the model takes 512: lower"
    ):
        check_rows(lm, data, run)
    data = Data(*pairs, DataOptions(lookalike=False, max_length=900))
    data.test = replace(data.test, forget=(replace(data.test.forget[0], prompt="word " * 100),))
    with pytest.raises(DataError, match="prompt and answer would take"):
        check_rows(lm, data, run)
    check_rows(toy.lm("Llama"), data, run)  # which computes its places


def test_an_answer_cut_away_by_max_length_stops_before_training(pairs: tuple[Path, Path]):
    from skunlearn.utils.errors import DataError

    data = Data(*pairs, DataOptions(max_length=20))
    with pytest.raises(DataError, match=r"forget.jsonl:\d+: the prompt takes"):
        train(toy.lm(), SKU(rd_weight=1), data, STEPS)


def test_an_error_leaves_the_model_as_it_was(pairs: tuple[Path, Path]):
    for mode in ("lora", "full"):
        lm = toy.lm()
        before = {name: p.clone() for name, p in lm.model.named_parameters()}
        with pytest.raises(KilledError):
            train(
                lm,
                SKU(),
                Data(*pairs),
                STEPS,
                LoraOptions(mode, rank=2, frozen=0),
                progress=KillAt(2),
            )
        assert all(torch.equal(p, before[name]) for name, p in lm.model.named_parameters())
        assert before.keys() == dict(lm.model.named_parameters()).keys()

"""One SKU step in three ways on the same rows: naively, plainly, and as the library does it.

The naive one is written from the paper: every row padded to one length, a pass for each loss, a
second copy of the model as reference, logits of every position. The plain one is what a careful
script does: padding to the longest row of a pass, the reference is the same model with its adapter
off, logits of every position.
"""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data
from skunlearn.methods.base import Method
from skunlearn.methods.sku import SKU
from skunlearn.models.lm import LM
from skunlearn.training.lora import LoraOptions, trained_modules
from skunlearn.training.rows import Rows
from skunlearn.training.train import TrainOptions, train
from skunlearn.training.trainable_model import with_lora
from skunlearn.utils.progress import Progress

METHOD = SKU(gd_weight=1.0, rd_weight=1.0, pd_weight=1.0, pd_anchor=0.0, mismatched=1)
EVERYWHERE = LoraOptions(frozen=0.0)  # LoRA on all linear layers
RATE = 1e-4
Roles = dict[str, list[Encoded]]


def rows_of(lm: LM, data: Data, batch: int, step: int = 0, method: Method = METHOD) -> Roles:
    """The rows of one step at their natural lengths; of METHOD: `batch` forget, mismatched and
    retain rows each."""
    return Rows(lm, data, method, batch).at(step)


def mean_length(rows: Roles) -> float:
    """Tokens a row."""
    lengths = [len(row) for role in rows.values() for row in role]
    return sum(lengths) / len(lengths)


class Baseline:
    """The naive or the plain step.

    Args:
        lm: the model; LoRA is put on it until `close`.
        pad_to: tokens that every row is padded to; None pads each pass to its own longest row.
        second_copy: keep another copy of the model as reference, instead of switching the adapter
            off.
    """

    def __init__(self, lm: LM, pad_to: int | None, second_copy: bool) -> None:
        self.pad_to = pad_to
        self.base = copy.deepcopy(lm.model) if second_copy else None
        self.model = with_lora(
            lm.model, trained_modules(lm.model, EVERYWHERE), EVERYWHERE, 0
        )  # peft's own
        self.optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad], lr=RATE
        )

    def close(self) -> None:
        """Take LoRA off again."""
        self.model.unload()

    def padded(self, rows: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, mask and labels (-100 where nothing is scored), (B, T) each."""
        width = self.pad_to or max(map(len, rows))
        ids_BT, labels_BT = (
            torch.zeros(len(rows), width, dtype=torch.long),
            torch.full((len(rows), width), -100),
        )
        mask_BT = torch.zeros_like(ids_BT)
        for number, row in enumerate(rows):
            all_ids = torch.tensor(row.prompt_ids + row.answer_ids)[:width]
            ids_BT[number, : len(all_ids)] = all_ids
            mask_BT[number, : len(all_ids)] = 1
            labels_BT[number, len(row.prompt_ids) : len(all_ids)] = all_ids[len(row.prompt_ids) :]
        return ids_BT, mask_BT, labels_BT

    def nll(self, rows: Sequence[Encoded]) -> torch.Tensor:
        """Mean over the answer tokens, from the logits of every position."""
        ids_BT, mask_BT, labels_BT = self.padded(rows)
        logits_BTV = self.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
        return F.cross_entropy(
            logits_BTV[:, :-1].reshape(-1, logits_BTV.shape[-1]), labels_BT[:, 1:].reshape(-1)
        )

    def divergence(self, rows: Sequence[Encoded]) -> torch.Tensor:
        """KL(base || model), mean over the answer tokens."""
        ids_BT, mask_BT, labels_BT = self.padded(rows)
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT, "use_cache": False}
        with torch.no_grad():
            if self.base is not None:
                base_BTV = self.base(**inputs).logits
            else:
                with self.model.disable_adapter():
                    base_BTV = self.model(**inputs).logits
        logits_BTV = self.model(**inputs).logits
        scored_BT = labels_BT[:, 1:] != -100
        p_BTV, q_BTV = base_BTV[:, :-1].log_softmax(-1), logits_BTV[:, :-1].log_softmax(-1)
        return (
            F.kl_div(q_BTV, p_BTV, reduction="none", log_target=True).sum(-1) * scored_BT
        ).sum() / scored_BT.sum()

    def step(self, rows: Roles) -> float:
        """One optimiser step; the loss."""
        total = 0.0
        for loss, role in (
            (self.nll, "forget"),
            (self.nll, "mismatch"),
            (self.divergence, "retain"),
        ):
            value = loss(rows[role])
            # at once: three graphs of eight rows of 512 tokens are more than 24 GB
            value.backward()
            total += value.item()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total


class Clock(Progress):
    """The moments at which steps ended."""

    def __init__(self) -> None:
        self.name, self.times = "", []  # type: tuple[str, list[float]]

    def start(self, name: str, total: int) -> None:
        self.name = name
        if name == "stage 1":
            self.times.append(time.perf_counter())

    def step(self, done: int, **info: Any) -> None:
        if self.name == "stage 1":
            self.times.append(time.perf_counter())


def ours(
    lm: LM,
    data: Data,
    batch: int,
    steps: int,
    method: Method = METHOD,
    trained: LoraOptions = EVERYWHERE,
) -> list[float]:
    """Seconds of each step of the library's own loop; the first two warm up and are left out."""
    clock = Clock()
    options = TrainOptions(steps=steps + 2, batch=batch, lr=RATE, checkpoint=10**6)
    train(lm, method, data, options, trained, progress=clock)
    return [b - a for a, b in zip(clock.times[2:], clock.times[3:], strict=False)]


def baseline(lm: LM, rows: Sequence[Roles], pad_to: int | None, second_copy: bool) -> list[float]:
    """Seconds of each step of a baseline, one for each set of rows; the first one is done twice, to
    warm up."""
    it = Baseline(lm, pad_to, second_copy)
    try:
        it.step(rows[0])
        return [timed(lambda one=one: it.step(one)) for one in rows]
    finally:
        it.close()


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

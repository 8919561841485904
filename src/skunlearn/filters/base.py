"""What a filter is, and what those that look at the base model are given."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.utils.hooks import RemovableHandle

from skunlearn.data.batches import Batch, collate
from skunlearn.data.chat_template import Encoded
from skunlearn.methods.losses import answer_nll
from skunlearn.models.forward import scored_logits
from skunlearn.models.lm import LM
from skunlearn.task_vector import Delta, LowRank, TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class Context:
    """The base model and what it must keep.

    Attributes:
        lm: the base, with its own weights in place.
        retain: training rows of the retain set and look-alikes, never validation or test rows.
        progress: is told of the work.
    """

    lm: LM
    retain: Sequence[Encoded]
    progress: Progress = field(default_factory=Progress)

    @cached_property
    def batches(self) -> list[Batch]:
        """The retain rows in batches of like length."""
        order = sorted(self.retain, key=len)
        chunks = [order[at : at + ROWS_AT_ONCE] for at in range(0, len(order), ROWS_AT_ONCE)]
        return [collate(chunk).to(self.lm.model.device) for chunk in chunks]

    @torch.no_grad()
    def input_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Mean of x x^T over the retain tokens, (I, I), for the inputs x of the linear modules with these weights."""
        sums: dict[str, torch.Tensor] = {}
        mask_N = torch.zeros(0, dtype=torch.bool)
        tokens = 0

        def watch(name: str) -> RemovableHandle:
            def hook(_module: object, args: tuple[torch.Tensor, ...]) -> None:
                x_NI = args[0].reshape(-1, args[0].shape[-1])[mask_N].float()
                sums[name] = sums.get(name, 0) + x_NI.T @ x_NI

            return self.lm.model.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(hook)

        hooks = [watch(name) for name in names]
        try:
            for batch in self.progress.over("what ordinary answers use", self.batches):
                mask_N = batch.attention_mask.reshape(-1).bool()
                tokens += int(mask_N.sum())
                self.lm.model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask, use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return {name: total.cpu() / max(tokens, 1) for name, total in sums.items()}

    def fisher(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Diagonal of the empirical Fisher on the retain rows, a few rows at a time: mean over batches of the square of
        the batch's gradient of its mean NLL. Smaller than row by row, where rows of a batch pull apart."""
        parameters = {name: self.lm.model.get_parameter(name) for name in names}
        sums = {name: torch.zeros_like(p, dtype=torch.float32, device="cpu") for name, p in parameters.items()}
        before = {name: parameter.requires_grad for name, parameter in parameters.items()}
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        try:
            for batch in self.progress.over("gradients of ordinary answers", self.batches):
                loss = answer_nll(scored_logits(self.lm.model, batch), batch.labels_N)
                for name, gradient in zip(parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True):
                    sums[name] += gradient.float().cpu().square()
        finally:
            for name, parameter in parameters.items():
                parameter.requires_grad_(before[name])
        return {name: total / max(len(self.batches), 1) for name, total in sums.items()}


class Filter(ABC):
    """The base of all filters, which are frozen dataclasses of their options."""

    @abstractmethod
    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        """One vector out of one or several of the same model.

        Raises:
            ConfigError: when the filter takes one vector and there are several.
        """


def filtered(filters: Sequence[Filter], taus: Sequence[TaskVector], context: Context) -> TaskVector:
    """The filters one after the other; the first is given all vectors, each later one what came out before.

    Raises:
        ConfigError: when several vectors are left with nothing to make one of them, or nothing is left of one.
    """
    for one in filters:
        taus = [one(taus, context)]
    tau = only(taus)
    if filters and not tau.norm():
        raise ConfigError(f"nothing is left of the vector after {type(filters[-1]).__name__}: take a weaker setting")
    return tau


def only(taus: Sequence[TaskVector]) -> TaskVector:
    """The one vector there is.

    Raises:
        ConfigError: when there are several.
    """
    if len(taus) != 1:
        raise ConfigError(f"{len(taus)} task vectors, one is needed: put mean, ties or negmerge first in edit.filters")
    return taus[0]


def dense(delta: Delta) -> torch.Tensor:
    """A difference as one matrix."""
    return delta.dense() if isinstance(delta, LowRank) else delta


def check_share(name: str, value: float) -> None:
    """Raise a ConfigError unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}={value}: give a share, 0 to 1")

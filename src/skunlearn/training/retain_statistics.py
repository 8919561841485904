"""What filters ask of the base model: second moments of its inputs and the Fisher diagonal on
ordinary rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from skunlearn.data.batches import Batch, collate
from skunlearn.data.chat_template import Encoded
from skunlearn.methods.losses import answer_nll
from skunlearn.models.forward import scored_logits
from skunlearn.models.lm import LM
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class RetainStatistics:
    """The base model and what it must keep, as `task_vectors.filters.base.Context` has it.

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

    @property
    def depth(self) -> int:
        """Number of decoder layers."""
        layers = (layer_of(name) for name, _ in self.lm.model.named_parameters())
        return 1 + max((layer or 0 for layer in layers), default=0)

    def input_axis(self, name: str) -> int | None:
        """The axis of a weight along which its inputs lie; None where the module is not linear."""
        module = dict(self.lm.model.named_modules()).get(name.removesuffix(".weight"))
        if isinstance(module, Conv1D):
            return 0
        return 1 if isinstance(module, torch.nn.Linear) else None

    @torch.no_grad()
    def input_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Mean of x x^T over the retain tokens, (I, I), for the inputs x of the linear modules with
        these weights."""
        sums: dict[str, torch.Tensor] = {}
        mask_N = torch.zeros(0, dtype=torch.bool)
        tokens = 0

        def watch(name: str) -> RemovableHandle:
            def hook(_module: object, args: tuple[torch.Tensor, ...]) -> None:
                x_NI = args[0].reshape(-1, args[0].shape[-1])[mask_N].float()
                sums[name] = sums.get(name, 0) + x_NI.T @ x_NI

            return self.lm.model.get_submodule(
                name.removesuffix(".weight")
            ).register_forward_pre_hook(hook)

        hooks = [watch(name) for name in names]
        try:
            for batch in self.progress.over("what ordinary answers use", self.batches):
                mask_N = batch.attention_mask.reshape(-1).bool()
                tokens += int(mask_N.sum())
                self.lm.model(
                    input_ids=batch.input_ids_BT,
                    attention_mask=batch.attention_mask,
                    use_cache=False,
                )
        finally:
            for hook in hooks:
                hook.remove()
        return {name: total.cpu() / max(tokens, 1) for name, total in sums.items()}

    def fisher(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Diagonal of the empirical Fisher on the retain rows, a few rows at a time: mean over
        batches of the square of the batch's gradient of its mean NLL. Smaller than row by row,
        where rows of a batch pull apart."""
        parameters = {name: self.lm.model.get_parameter(name) for name in names}
        sums = {
            name: torch.zeros_like(p, dtype=torch.float32, device="cpu")
            for name, p in parameters.items()
        }
        before = {name: parameter.requires_grad for name, parameter in parameters.items()}
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        try:
            for batch in self.progress.over("gradients of ordinary answers", self.batches):
                loss = answer_nll(scored_logits(self.lm.model, batch), batch.labels_N)
                for name, gradient in zip(
                    parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True
                ):
                    sums[name] += gradient.float().cpu().square()
        finally:
            for name, parameter in parameters.items():
                parameter.requires_grad_(before[name])
        return {name: total / max(len(self.batches), 1) for name, total in sums.items()}

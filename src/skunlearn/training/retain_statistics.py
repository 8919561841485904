"""Statistics of the base model on retain data, for filters of task vectors."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.utils.hooks import RemovableHandle
from transformers import Conv1D

from skunlearn.data.batches import Batch, collate
from skunlearn.data.chat_template import Encoded
from skunlearn.methods.losses import answer_nll
from skunlearn.models.forward import scored_logits
from skunlearn.models.lm import LM
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.utils.batching import batches_of_like_length
from skunlearn.utils.hooks import temporary_hooks
from skunlearn.utils.progress import Progress

BATCH = 8


@dataclass(frozen=True)
class RetainStatistics:
    """Second moments and Fisher information: the `task_vectors.filters.base.Context` of a model.

    Attributes:
        lm: the base model, with its own weights in place.
        retain: training rows of the retain set and look-alikes, never validation or test rows.
        progress: reports the batches.
    """

    lm: LM
    retain: Sequence[Encoded]
    progress: Progress = field(default_factory=Progress)

    @cached_property
    def batches(self) -> list[Batch]:
        """The retain rows in batches of similar length, on the model's device."""
        batches: list[Batch] = []
        for numbers in batches_of_like_length(list(map(len, self.retain)), BATCH):
            batch = collate([self.retain[number] for number in numbers])
            batches.append(batch.to(self.lm.model.device))
        return batches

    @property
    def depth(self) -> int:
        """Number of decoder layers."""
        highest = 0
        for name, _ in self.lm.model.named_parameters():
            highest = max(highest, layer_of(name) or 0)
        return highest + 1

    def input_axis(self, name: str) -> int | None:
        """The axis of a weight that its inputs run along; None when the module is not linear.

        Args:
            name: of the weight.
        """
        module = dict(self.lm.model.named_modules()).get(name.removesuffix(".weight"))
        if isinstance(module, Conv1D):
            return 0
        return 1 if isinstance(module, torch.nn.Linear) else None

    @torch.no_grad()
    def input_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Mean of x x^T over the retain tokens, for the inputs x of linear modules.

        Args:
            names: the modules' weights.

        Returns:
            Name of the weight -> (I, I), on the CPU.
        """
        sums: dict[str, torch.Tensor] = {}
        mask_N = torch.zeros(0, dtype=torch.bool)  # the tokens of the present batch, not padding
        tokens = 0

        def add_moments(name: str) -> RemovableHandle:
            """Register a hook that adds the moments of the present batch to the sum."""

            def hook(_module: object, args: tuple[torch.Tensor, ...]) -> None:
                x_NI = args[0].reshape(-1, args[0].shape[-1])[mask_N].float()
                sums[name] = sums.get(name, 0) + x_NI.T @ x_NI

            module = self.lm.model.get_submodule(name.removesuffix(".weight"))
            return module.register_forward_pre_hook(hook)

        with temporary_hooks(map(add_moments, names)):
            for batch in self.progress.over("second moments", self.batches):
                mask_N = batch.attention_mask.reshape(-1).bool()
                tokens += int(mask_N.sum())
                self.lm.model(
                    input_ids=batch.input_ids_BT,
                    attention_mask=batch.attention_mask,
                    use_cache=False,
                )
        return {name: total.cpu() / max(tokens, 1) for name, total in sums.items()}

    def fisher(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Diagonal of the empirical Fisher information on the retain rows.

        It is the mean over batches of the squared gradient of the batch's mean NLL. This is smaller
        than the mean over single rows, whose gradients partly cancel within a batch.

        Args:
            names: of the weights.

        Returns:
            Name of the weight -> values in the weight's shape, float32, on the CPU.
        """
        parameters: dict[str, torch.nn.Parameter] = {}
        sums: dict[str, torch.Tensor] = {}
        with ExitStack() as restore:
            for name in names:
                parameter = self.lm.model.get_parameter(name)
                parameters[name] = parameter
                sums[name] = torch.zeros_like(parameter, dtype=torch.float32, device="cpu")
                restore.callback(parameter.requires_grad_, parameter.requires_grad)
                parameter.requires_grad_(True)
            for batch in self.progress.over("Fisher information", self.batches):
                loss = answer_nll(scored_logits(self.lm.model, batch), batch.labels_N)
                gradients = torch.autograd.grad(loss, list(parameters.values()))
                for name, gradient in zip(parameters, gradients, strict=True):
                    sums[name] += gradient.float().cpu().square()
        return {name: total / max(len(self.batches), 1) for name, total in sums.items()}

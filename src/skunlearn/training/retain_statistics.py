"""Statistics of the base model on retain data, for filters of task vectors."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

import torch
from torch.utils.hooks import RemovableHandle
from transformers import Conv1D

from skunlearn.data.batches import Batch, collate
from skunlearn.data.chat_template import Encoded, shortened
from skunlearn.methods.losses import answer_nll
from skunlearn.models.forward import scored_logits
from skunlearn.models.lm import LM
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.utils.batching import batches_of_like_length
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.hooks import temporary_hooks
from skunlearn.utils.progress import Progress

BATCH = 8
Window = tuple[int, int]
# Tokens of a row, from the first up to, but without, the second; 0 is the first of the answer. The
# token before it predicts it.
WHOLE_ROW = (-1_000_000, 1_000_000)
DECISION = (-1, 3)
BEGUN_REFUSAL = (-1, 24)
AROUND_DECISION = (-12, 32)


@dataclass(frozen=True)
class RetainStatistics:
    """Second moments and Fisher information: the `task_vectors.filters.base.Context` of a model.

    Attributes:
        lm: the base model, with its own weights in place.
        retain: training rows of the retain set and look-alikes, never validation or test rows.
        progress: reports the batches.
        harmful: training rows of the forget set with harmful answers.
        refused: prompts of the forget set with refusals.
        harmless: training rows of the retain set and look-alikes, more of them than `retain`.
    """

    lm: LM
    retain: Sequence[Encoded]
    progress: Progress = field(default_factory=Progress)
    harmful: Sequence[Encoded] = ()
    refused: Sequence[Encoded] = ()
    harmless: Sequence[Encoded] = ()

    @cached_property
    def batches(self) -> list[Batch]:
        """The retain rows in batches of similar length, on the model's device."""
        device = self.lm.model.device
        return [collate(rows).to(device) for rows in _batches(self.retain)]

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

    def input_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Mean of x x^T over the retain tokens, for the inputs x of linear modules.

        Args:
            names: the modules' weights.

        Returns:
            Name of the weight -> (I, I), on the CPU.
        """
        return self._moments(names, self.retain, (WHOLE_ROW,))[0]

    def harmful_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Mean of x x^T where harmful prompts are answered: the first tokens of a harmful answer,
        and with half of the weight a refusal that has begun.

        Args:
            names: the modules' weights.

        Raises:
            ConfigError: when there are no forget rows.
        """
        if not self.harmful or not self.harmless:
            raise ConfigError("the filter needs forget rows and retain rows, and there are none")
        names = list(names)
        (decided,) = self._moments(names, self.harmful, (DECISION,))
        (refused,) = self._moments(names, self.refused, (BEGUN_REFUSAL,))
        return _weighted_sum(decided, refused, 0.5)

    def harmless_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Sum of two means of x x^T: over the first tokens of retain answers, and over the end of
        the prompt and the beginning of the answer.

        The first few tokens decide whether a prompt is refused, and are few among the others.

        Args:
            names: the modules' weights.
        """
        decided, around = self._moments(names, self.harmless, (DECISION, AROUND_DECISION))
        return _weighted_sum(decided, around, 1.0)

    @torch.no_grad()
    def _moments(
        self, names: Iterable[str], rows: Sequence[Encoded], windows: Sequence[Window]
    ) -> list[dict[str, torch.Tensor]]:
        """For each window the mean of x x^T over its tokens, by the name of the weight.

        Args:
            names: the modules' weights.
            rows: prompts with answers; what comes behind all windows is cut off.
            windows: which tokens of a row count.
        """
        sums: list[dict[str, torch.Tensor]] = [{} for _ in windows]
        masks: list[torch.Tensor] = []  # for each window, its tokens in the present batch

        def add_moments(name: str) -> RemovableHandle:
            """Register a hook that adds the moments of the present batch to the sums."""

            def hook(_module: object, args: tuple[torch.Tensor, ...]) -> None:
                x_NI = args[0].reshape(-1, args[0].shape[-1])
                for total, mask_N in zip(sums, masks, strict=True):
                    inside_MI = x_NI[mask_N].float()
                    total[name] = total.get(name, 0) + inside_MI.T @ inside_MI

            module = self.lm.model.get_submodule(name.removesuffix(".weight"))
            return module.register_forward_pre_hook(hook)

        needed = max(windows, key=itemgetter(1))[1]
        tokens = [0] * len(windows)
        with temporary_hooks(map(add_moments, names)):
            batches = _batches([shortened(row, needed) for row in rows])
            for batch_rows in self.progress.over("second moments", batches):
                batch = collate(batch_rows).to(self.lm.model.device)
                masks.clear()
                for number, window in enumerate(windows):
                    mask_N = _inside(batch, batch_rows, window)
                    masks.append(mask_N)
                    tokens[number] += int(mask_N.sum())
                self.lm.model(
                    input_ids=batch.input_ids_BT,
                    attention_mask=batch.attention_mask,
                    use_cache=False,
                )
        found: list[dict[str, torch.Tensor]] = []
        for total, count in zip(sums, tokens, strict=True):
            means: dict[str, torch.Tensor] = {}
            for name, value in total.items():
                means[name] = value.cpu() / max(count, 1)
            found.append(means)
        return found

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


def _weighted_sum(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], weight: float
) -> dict[str, torch.Tensor]:
    """first + weight * second, name by name."""
    total: dict[str, torch.Tensor] = {}
    for name, value in first.items():
        total[name] = value + weight * second[name]
    return total


def _batches(rows: Sequence[Encoded]) -> list[list[Encoded]]:
    """The rows in batches of similar length."""
    batches: list[list[Encoded]] = []
    for numbers in batches_of_like_length(list(map(len, rows)), BATCH):
        batches.append([rows[number] for number in numbers])
    return batches


def _inside(batch: Batch, rows: Sequence[Encoded], window: Window) -> torch.Tensor:
    """Which positions of a padded batch are tokens inside the window, (B * T,)."""
    device = batch.time_BT.device
    answer_starts_B1 = torch.tensor([[len(row.prompt_ids)] for row in rows], device=device)
    place_BT = batch.time_BT - answer_starts_B1
    inside_BT = (place_BT >= window[0]) & (place_BT < window[1])
    return (inside_BT & batch.attention_mask.bool()).reshape(-1)

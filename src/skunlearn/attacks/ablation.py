"""Ablation: project the direction between harmful and ordinary prompts out of the residual stream.

Threat: anyone with the weights and a few dozen prompts, without training (Arditi et al.,
arXiv:2406.11717). In many chat models refusal hangs on a single direction, so a model that learnt
to refuse is evaluated without that direction.

    r = mean of h over forget prompts - mean of h over ordinary prompts
    h <- h - (h . r / r . r) r          at every decoder layer and token position

where h in the first line is the hidden state of the last prompt token behind one decoder layer.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.utils.hooks import RemovableHandle

from skunlearn.attacks.base import BOTH, Attack, Cost, On, Situation, Situations, Target, at_least
from skunlearn.data.examples import Example
from skunlearn.models.architecture import decoder_layers, layer_number
from skunlearn.models.lm import LM
from skunlearn.utils.batching import batched
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.hooks import temporary_hooks

ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Ablation(Attack):
    """Options of Ablation.

    Attributes:
        examples: prompts of each kind from which the direction is computed.
        layer: the decoder layer behind which it is computed, as a share of the depth, above 0 and
            at most 1.
        on: which models are attacked; each has a direction of its own.
    """

    name: ClassVar[str] = "ablation"

    examples: int = 48
    layer: float = 0.6
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        at_least(self.name, 1, examples=self.examples)
        if not 0 < self.layer <= 1:
            raise ConfigError(
                f"ablation.layer={self.layer}: give a share of the depth, above 0 and at most 1"
            )

    def situations(self, target: Target) -> Situations:
        """Yield each model without its direction."""
        for on in self.on:
            with target.model(on):
                start = time.monotonic()
                forget = target.forget(self.examples)
                retain = target.retain(self.examples)
                unit_D = difference_of_means(target.lm, forget, retain, self.layer)
                seconds = round(time.monotonic() - start, 1)
                cost = Cost(len(forget) + len(retain), seconds=seconds)
                with without(target.lm.model, unit_D):
                    variant = f"read at {self.layer:.0%} of the depth"
                    yield Situation(variant, on, target.plain, "ablation", cost)


def difference_of_means(
    lm: LM, forget: Sequence[Example], retain: Sequence[Example], layer: float
) -> torch.Tensor:
    """The direction from ordinary to forget prompts in the hidden states of one decoder layer.

    Args:
        lm: the model.
        forget: examples whose prompts are harmful.
        retain: examples whose prompts are ordinary.
        layer: the decoder layer as a share of the depth, above 0 and at most 1.

    Returns:
        Mean hidden state at the last prompt token of the forget prompts less that of the ordinary
        prompts, scaled to length 1, (D,).

    Raises:
        ModelError: when the two means are equal.
    """
    module = decoder_layers(lm.model)[layer_number(lm.model, layer)]
    direction_D = _mean_state(lm, module, forget) - _mean_state(lm, module, retain)
    if not direction_D.norm() > 0:
        raise ModelError(
            "ablation: forget and ordinary prompts leave the model in the same state: no direction"
        )
    return direction_D / direction_D.norm()


@contextmanager
def without(model: Any, unit_D: torch.Tensor) -> Iterator[None]:
    """A block inside which the residual stream has no component along a unit vector, (D,)."""

    def project(hidden: Any) -> Any:
        # Some decoder layers return a tuple that begins with the hidden states.
        if isinstance(hidden, tuple):
            return (project(hidden[0]), *hidden[1:])
        along_D = unit_D.to(hidden.device, hidden.dtype)
        return hidden - (hidden @ along_D).unsqueeze(-1) * along_D

    def project_input(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (project(args[0]), *args[1:])

    def project_output(_module: Any, _args: Any, output: Any) -> Any:
        return project(output)

    def handles() -> Iterator[RemovableHandle]:
        layers = decoder_layers(model)
        # The embeddings enter the stream at the first layer; every layer adds to it afterwards.
        yield layers[0].register_forward_pre_hook(project_input)
        for layer in layers:
            yield layer.register_forward_hook(project_output)

    with temporary_hooks(handles()):
        yield


@torch.no_grad()
def _mean_state(lm: LM, layer: torch.nn.Module, examples: Sequence[Example]) -> torch.Tensor:
    """Mean over the examples of the layer's output at the last prompt token, (D,), in fp32."""
    device = lm.model.device
    outputs: list[torch.Tensor] = []

    def record(_module: Any, _args: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    rows = [lm.template.prompt_ids(example) for example in examples]
    total = torch.zeros(1, device=device)
    with temporary_hooks([layer.register_forward_hook(record)]):
        for batch in batched(rows, ROWS_AT_ONCE):
            # Padding is on the right, so that it changes no state before it.
            width = max(map(len, batch))
            padded = []
            mask = []
            last = []
            for ids in batch:
                padding = width - len(ids)
                padded.append([*ids, *[0] * padding])
                mask.append([1] * len(ids) + [0] * padding)
                last.append(len(ids) - 1)
            ids_BT = torch.tensor(padded, device=device)
            mask_BT = torch.tensor(mask, device=device)
            lm.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, logits_to_keep=1)
            hidden_BTD = outputs.pop()
            total = total + hidden_BTD[range(len(batch)), last].float().sum(dim=0)
    return total / len(rows)

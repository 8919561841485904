"""Ablation: the direction that tells harmful prompts from ordinary ones is taken out of the
residual stream.

Threat: anyone with the weights and a few dozen prompts, without training (Arditi et al.,
    arXiv:2406.11717): refusal of
many chat models hangs on one direction, so a model that learnt to refuse is asked without it.

    r = mean over forget prompts of h - mean over ordinary prompts of h        h: last prompt token,
    one layer h <- h - (h . r / r . r) r                                                 at every
    layer and token
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from skunlearn.attacks.base import BOTH, Attack, Cost, On, Situation, Situations, Target, at_least
from skunlearn.data.examples import Example
from skunlearn.models.lm import LM
from skunlearn.utils.errors import ConfigError, ModelError

ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Ablation(Attack):
    """Options of Ablation.

    Attributes:
        examples: prompts of each kind that the direction is computed from.
        layer: where it is read, as a share of the depth, 0..1.
        on: which models are attacked; each gets a direction of its own.
    """

    name: ClassVar[str] = "ablation"

    examples: int = 48
    layer: float = 0.6
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        at_least(self.name, 1, examples=self.examples)
        if not 0 <= self.layer <= 1:
            raise ConfigError(f"ablation.layer={self.layer}: give a share of the depth, 0..1")

    def situations(self, target: Target) -> Situations:
        """Each model without its direction."""
        for on in self.on:
            with target.model(on):
                start = time.monotonic()
                forget, retain = target.forget(self.examples), target.retain(self.examples)
                unit_D = difference_of_means(target.lm, forget, retain, self.layer)
                cost = Cost(len(forget) + len(retain), seconds=round(time.monotonic() - start, 1))
                with without(target.lm.model, unit_D):
                    variant = f"read at {self.layer:.0%} of the depth"
                    yield Situation(variant, on, target.plain, "ablation", cost)


def difference_of_means(
    lm: LM, forget: Sequence[Example], retain: Sequence[Example], layer: float
) -> torch.Tensor:
    """Mean state at the last prompt token of forget prompts less that of ordinary ones, as a unit
    vector, (D,).

    Raises:
        ModelError: when there is no difference.
    """
    blocks = decoder_layers(lm.model)
    block = blocks[round(layer * (len(blocks) - 1))]
    direction_D = _mean(lm, block, forget) - _mean(lm, block, retain)
    if not direction_D.norm() > 0:
        raise ModelError(
            "ablation: forget and ordinary prompts leave the model in the same state: no direction"
        )
    return direction_D / direction_D.norm()


@contextmanager
def without(model: Any, unit_D: torch.Tensor) -> Iterator[None]:
    """Inside the block no layer gets or gives anything along a unit vector."""

    def project(output: Any) -> Any:
        if isinstance(output, tuple):
            return (project(output[0]), *output[1:])
        along_D = unit_D.to(output.device, output.dtype)
        return output - (output @ along_D).unsqueeze(-1) * along_D

    blocks = decoder_layers(model)
    hooks = [
        blocks[0].register_forward_pre_hook(lambda _module, args: (project(args[0]), *args[1:]))
    ]
    hooks += [
        block.register_forward_hook(lambda _module, _args, output: project(output))
        for block in blocks
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The layers, whatever the architecture calls them.

    Raises:
        ModelError: when there is no list of as many modules as the configuration has layers.
    """
    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ModelError(
        "ablation: the layers of this architecture were not found: leave ablation out with --only"
    )


@torch.no_grad()
def _mean(lm: LM, block: torch.nn.Module, examples: Sequence[Example]) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = block.register_forward_hook(
        lambda _m, _a, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    rows = [lm.template.prompt_ids(example) for example in examples]
    total = torch.zeros(1, device=lm.model.device)
    try:
        for at in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[at : at + ROWS_AT_ONCE]
            width = max(map(len, chunk))
            ids_BT = torch.tensor(
                [[*ids, *[0] * (width - len(ids))] for ids in chunk], device=lm.model.device
            )
            mask_BT = torch.tensor(
                [[1] * len(ids) + [0] * (width - len(ids)) for ids in chunk], device=lm.model.device
            )
            lm.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, logits_to_keep=1)
            last = [len(ids) - 1 for ids in chunk]
            total = total + seen.pop()[range(len(chunk)), last].float().sum(dim=0)
    finally:
        hook.remove()
    return total / len(rows)

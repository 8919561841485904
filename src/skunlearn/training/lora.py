"""Which weights are trained: LoRA factors on chosen layers (peft), or the weights themselves."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from skunlearn.models.architecture import decoder_layers, text_decoder
from skunlearn.models.packed_attention import packed_again
from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector
from skunlearn.training.fsdp import restore_from, sharded, unsharded
from skunlearn.training.fused_lora import fuse
from skunlearn.training.trainable import LoraOptions, trained_modules, trained_parameters

GATE_SCALE = (
    100.0  # of what gates write, so that learning rates that suit LoRA's factors suit it too
)


class TrainableModel:
    """A model made ready for training, and back.

    Attributes:
        model: what to run.
        parameters: what to optimise, by name.

    Args:
        model: the base; nothing of it is changed for LoRA.
        options: which weights move.
        seed: of LoRA's random factors.
        depth: how many layers, from the bottom, the losses see; None for all.
        gates: name of a linear module -> (1, I), LoRA's right factor, which stays: then nothing
            else is trained.
    """

    def __init__(
        self,
        model: Any,
        options: LoraOptions,
        seed: int,
        depth: int | None = None,
        gates: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        options = replace(options, mode="lora", rank=1, alpha=GATE_SCALE) if gates else options
        self.base, self.options = model, options
        model.requires_grad_(False)
        self.dtypes = {name: p.dtype for name, p in model.named_parameters()}
        self.before: dict[str, torch.Tensor] = {}
        self.checkpointed: list[Any] = []
        if options.mode == "full":
            self._cast(
                dict.fromkeys(self.dtypes, torch.float32)
            )  # steps of a small rate vanish in half precision
            chosen = trained_parameters(model, options, depth)
            for parameter in chosen.values():
                parameter.requires_grad_(True)
            self.whole = model
        else:
            names = list(gates) if gates else trained_modules(model, options, depth)
            self.whole = with_lora(model, names, options, seed)
            fuse(self.whole)
            for name, right_1I in (gates or {}).items():
                factor = model.get_submodule(name).lora_A["default"].weight
                factor.data.copy_(right_1I)
                factor.requires_grad_(False)
        self._train(self.whole)

    def shard(self) -> None:
        """From now on each process holds its share of the weights; the base holds none until
        `task_vector`."""
        self._train(sharded(self.whole))

    def checkpoint_layers(self) -> None:
        """From now on a decoder layer keeps only what goes into it, and is computed again for its
        gradients."""
        self.checkpointed = list(decoder_layers(self.model))
        again = partial(packed_again, text_decoder(self.model))
        for layer in self.checkpointed:
            layer.forward = partial(
                checkpoint, layer.forward, use_reentrant=False, context_fn=again
            )

    def _train(self, model: Any) -> None:
        self.model = model
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if self.options.mode == "full":
            self.before = {name: _kept(p.detach()) for name, p in self.parameters.items()}

    def task_vector(self, safety: float) -> TaskVector:
        """What was learnt, and the base as it was before: LoRA is taken off, full weights are put
        back.

        Raises:
            ModelError: when a trained weight did not move.
        """
        full = self.options.mode == "full"
        tau = TaskVector(dict(self._differences() if full else _lora_deltas(self.model)), safety)
        self._restore()
        tau.check_moved()
        return tau

    @contextmanager
    def restored_on_error(self) -> Iterator[None]:
        """A block after which, when an error ends it, the base is as it was before; divided weights
        are left."""
        try:
            yield
        except BaseException:
            if self.model is self.whole:
                self._restore()
            raise

    @torch.no_grad()
    def _restore(self) -> None:
        for layer in self.checkpointed:
            layer.__dict__.pop("forward", None)
        for name, value in self.before.items():
            self.parameters[name].copy_(value.to(self.parameters[name].device))
        if self.model is not self.whole:
            restore_from(self.whole, self.model)
        if self.options.mode == "full":
            self._cast(self.dtypes)
        else:
            self.whole.unload()
        self.base.requires_grad_(False)

    def _cast(self, dtypes: Mapping[str, torch.dtype]) -> None:
        """Parameters alone: buffers (the frequencies of rotary embeddings) have a precision of
        their own."""
        for name, parameter in self.base.named_parameters():
            parameter.data = parameter.data.to(dtypes[name])

    @torch.no_grad()
    def _differences(self) -> Iterator[tuple[str, Delta]]:
        for name, parameter in self.parameters.items():
            yield name, unsharded(parameter.detach() - self.before[name].to(parameter.device)).cpu()


def _kept(value: torch.Tensor) -> torch.Tensor:
    """A copy: of a whole weight on the CPU, of a divided one where it is."""
    return value.clone() if isinstance(value, DTensor) else value.to("cpu", copy=True)


def with_lora(model: Any, names: list[str], options: LoraOptions, seed: int) -> Any:
    """The model with LoRA on these modules, as peft has it."""
    from peft import LoraConfig, get_peft_model

    conv = isinstance(model.get_submodule(names[0]), Conv1D)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha or 2 * options.rank,
        target_modules=names,
        lora_dropout=0.0,
        fan_in_fan_out=conv,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _lora_deltas(model: Any) -> Iterable[tuple[str, Delta]]:
    """`scale * B @ A` of each adapted module as factors, in the orientation of its weight."""
    from peft.tuners.lora import LoraLayer

    for name, module in model.base_model.model.named_modules():
        if isinstance(module, LoraLayer):
            a_RI = unsharded(module.lora_A["default"].weight.detach()).float().cpu()
            b_OR = (
                unsharded(module.lora_B["default"].weight.detach()).float().cpu()
                * module.scaling["default"]
            )
            base = module.get_base_layer()
            conv = Conv1D in (
                type(base),
                getattr(base, "source_cls", None),
            )  # in four bits it is a linear module
            delta = (
                LowRank(a_RI.T.contiguous(), b_OR.T.contiguous()) if conv else LowRank(b_OR, a_RI)
            )
            yield f"{name}.weight", delta

"""A model made ready for training, with LoRA (peft) or full weights, and its task vector."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import Conv1D

from skunlearn.models.architecture import decoder_layers, text_decoder
from skunlearn.models.compat import class_before_quantisation, lora_layers
from skunlearn.models.packed_attention import packed_again
from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector
from skunlearn.training.fsdp import restore_from, sharded, unsharded
from skunlearn.training.lora import LoraOptions, trained_modules, trained_parameters

# LoRA's scale for what detectors write. With it, learning rates that suit LoRA suit detectors too.
DETECTOR_SCALE = 100.0


class TrainableModel:
    """A model with trainable parameters, which is restored when the task vector is taken.

    Attributes:
        base: the base model.
        options: which weights are trained.
        whole: the base model, with LoRA if it is trained that way.
        model: what to run: `whole`, or its sharded copy.
        parameters: what to optimize, by name.

    Args:
        model: the base model; with LoRA its own weights are not changed.
        options: which weights are trained.
        seed: of LoRA's random factors.
        depth: how many layers, from the bottom, the losses depend on; None for all.
        detectors: name of a linear module -> (1, I), a fixed right factor of LoRA. If given, only
            the left factors of these modules are trained, whatever `options` says.
    """

    def __init__(
        self,
        model: Any,
        options: LoraOptions,
        seed: int,
        depth: int | None = None,
        detectors: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        if detectors:
            options = replace(options, mode="lora", rank=1, alpha=DETECTOR_SCALE)
        self.base = model
        self.options = options
        model.requires_grad_(False)
        self.dtypes = {name: p.dtype for name, p in model.named_parameters()}
        self.before: dict[str, torch.Tensor] = {}
        self.checkpointed: list[Any] = []
        if options.mode == "full":
            # Train in float32: small updates are rounded away in half precision.
            self._cast(dict.fromkeys(self.dtypes, torch.float32))
            for parameter in trained_parameters(model, options, depth).values():
                parameter.requires_grad_(True)
            self.whole = model
        else:
            names = list(detectors) if detectors else trained_modules(model, options, depth)
            self.whole = with_lora(model, names, options, seed)
            for name, right_1I in (detectors or {}).items():
                factor = model.get_submodule(name).lora_A["default"].weight
                factor.data.copy_(right_1I)
                factor.requires_grad_(False)
        self._set_model(self.whole)

    def shard(self) -> None:
        """Shard the weights among the processes; the base model has none until `task_vector`."""
        self._set_model(sharded(self.whole))

    def checkpoint_layers(self) -> None:
        """Turn on gradient checkpointing: decoder layers are recomputed in the backward pass."""
        self.checkpointed = list(decoder_layers(self.model))
        again = partial(packed_again, text_decoder(self.model))
        for layer in self.checkpointed:
            layer.forward = partial(
                checkpoint, layer.forward, use_reentrant=False, context_fn=again
            )

    def _set_model(self, model: Any) -> None:
        """Set what is run, collect its parameters, and copy them where they will be changed."""
        self.model = model
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if self.options.mode == "full":
            self.before = {name: _copied(p.detach()) for name, p in self.parameters.items()}

    def task_vector(self, safety: float) -> TaskVector:
        """Return what was learnt, and restore the base model.

        Args:
            safety: the `TaskVector.safety` of the result.

        Raises:
            ModelError: when a trained weight did not change.
        """
        deltas = self._differences() if self.options.mode == "full" else _lora_deltas(self.model)
        tau = TaskVector(dict(deltas), safety)
        self._restore()
        tau.check_moved()
        return tau

    @contextmanager
    def negated(self) -> Iterator[None]:
        """A block inside which LoRA is subtracted: the model is theta_o - tau."""
        layers = [module for _, module in lora_layers(self.model)]
        _flip(layers)
        try:
            yield
        finally:
            _flip(layers)

    @contextmanager
    def restored_on_error(self) -> Iterator[None]:
        """A block that restores the base model when an error ends it, unless it is sharded."""
        try:
            yield
        except BaseException:
            if self.model is self.whole:
                self._restore()
            raise

    @torch.no_grad()
    def _restore(self) -> None:
        """Undo everything that was done to the base model, in reverse order."""
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
        """Cast the parameters, but not the buffers.

        Buffers, such as the frequencies of rotary embeddings, have a precision of their own.
        """
        for name, parameter in self.base.named_parameters():
            parameter.data = parameter.data.to(dtypes[name])

    @torch.no_grad()
    def _differences(self) -> Iterator[tuple[str, Delta]]:
        """The change of each parameter in full training, on the CPU."""
        for name, parameter in self.parameters.items():
            difference = parameter.detach() - self.before[name].to(parameter.device)
            yield name, unsharded(difference).cpu()


def _flip(layers: Iterable[Any]) -> None:
    """Change the sign with which LoRA layers add their product."""
    for layer in layers:
        layer.scaling["default"] = -layer.scaling["default"]


def _copied(value: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU; of a sharded tensor, on its own device."""
    return value.clone() if isinstance(value, DTensor) else value.to("cpu", copy=True)


def with_lora(model: Any, names: list[str], options: LoraOptions, seed: int) -> Any:
    """The model wrapped by peft, with LoRA on these modules.

    Args:
        model: the base model.
        names: full names of linear modules, all of one type.
        options: rank and scale.
        seed: of the random factors.
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha or 2 * options.rank,
        target_modules=names,
        lora_dropout=0.0,
        fan_in_fan_out=isinstance(model.get_submodule(names[0]), Conv1D),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _lora_deltas(model: Any) -> Iterator[tuple[str, Delta]]:
    """The change `scale * B @ A` of each adapted weight, as factors in the weight's orientation."""
    for name, module in lora_layers(model.base_model.model):
        a_RI = unsharded(module.lora_A["default"].weight.detach()).float().cpu()
        b_OR = unsharded(module.lora_B["default"].weight.detach()).float().cpu()
        b_OR = b_OR * module.scaling["default"]
        # GPT-2's Conv1D has weights of (I, O). In four bits it is replaced by a linear module.
        base = module.get_base_layer()
        if type(base) is Conv1D or class_before_quantisation(base) is Conv1D:
            yield f"{name}.weight", LowRank(a_RI.T.contiguous(), b_OR.T.contiguous())
        else:
            yield f"{name}.weight", LowRank(b_OR, a_RI)

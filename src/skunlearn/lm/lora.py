"""Which weights are trained: LoRA factors on chosen layers (peft), or the weights themselves."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from skunlearn.lm.fsdp import give_back, sharded, whole
from skunlearn.lm.fused import fuse
from skunlearn.models.architecture import body, decoder_layers
from skunlearn.models.packed_attention import packed_again
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.registry import did_you_mean

GATE_SCALE = 100.0  # of what gates write, so that learning rates that suit LoRA's factors suit it too


@dataclass(frozen=True)
class Trained:
    """Which weights move.

    Attributes:
        mode: LoRA factors or the full weights.
        rank: rank of the LoRA factors (1 or more).
        alpha: LoRA's scale is alpha / rank; twice the rank when not given.
        modules: last names of the modules to train (`q_proj`, ...); all linear ones when empty.
        frozen: share of the layers that stays frozen, from the bottom (0..1); of those that the losses depend on.
        nf4: QLoRA: hold the frozen base in four bits (NF4, by bitsandbytes) while LoRA trains; the vector is float32,
            and strength, evaluation and export have the unquantised weights.
    """

    mode: Literal["lora", "full"] = "lora"
    rank: int = 16
    alpha: float | None = None
    modules: tuple[str, ...] = ()
    frozen: float = 1 / 3
    nf4: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"lora.rank={self.rank}: give 1 or more")
        if self.alpha is not None and not self.alpha > 0:
            raise ConfigError(f"lora.alpha={self.alpha}: give a number above 0")
        if not 0 <= self.frozen < 1:
            raise ConfigError(f"lora.frozen={self.frozen}: give a share of the layers, 0 or more and below 1")
        if self.nf4 and self.mode == "full":
            raise ConfigError("lora.nf4=true with lora.mode=full: weights of four bits cannot be trained: take lora")


def linear_modules(model: Any, options: Trained, depth: int | None = None) -> list[str]:
    """Full names of the linear modules inside the trained layers.

    Args:
        model: the base.
        options: which weights move.
        depth: the losses see the lowest `depth` layers only, so that nothing above has a gradient; None for all.

    Raises:
        ConfigError: when a name in `options.modules` is none of the model's.
    """
    text = {id(module) for module in body(model).modules()}
    inside = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and layer_of(name) is not None and id(module) in text
    }
    last_names = {name.rpartition(".")[2] for name in inside}
    if wrong := [name for name in options.modules if name not in last_names]:
        raise ConfigError(f"lora.modules: the model has no module '{wrong[0]}': {did_you_mean(wrong[0], last_names)}")
    moving = trained_layers(model, options, depth)
    names = [
        name
        for name in inside
        if layer_of(name) in moving and (not options.modules or name.rpartition(".")[2] in options.modules)
    ]
    if not names:
        raise ModelError("no linear module was found to put LoRA on: train in full with --set lora.mode=full")
    return names


def trained_layers(model: Any, options: Trained, depth: int | None = None) -> range:
    """The layers that move: of the lowest `depth` (all, for None) those that `frozen` leaves."""
    layers = {layer_of(name) for name, _ in body(model).named_parameters(prefix="body")} - {None}
    depth = len(layers) if depth is None else depth
    return range(int(depth * options.frozen), depth)


def moves_head(model: Any, options: Trained, depth: int | None = None) -> bool:
    """Whether training changes the language head."""
    head = {id(parameter) for parameter in model.get_output_embeddings().parameters()}
    return options.mode == "full" and any(id(p) in head for p in trained_parameters(model, options, depth).values())


def trained_parameters(model: Any, options: Trained, depth: int | None = None) -> dict[str, torch.nn.Parameter]:
    """In full mode: the parameters that move, of the text's decoder and its head. With layers that stay, the embeddings
    and the head stay too."""
    moving = trained_layers(model, options, depth)
    text = {id(p) for part in (body(model), model.get_output_embeddings()) for p in part.parameters()}
    parts = {part for name, _ in model.named_parameters() for part in name.split(".")}
    if wrong := [name for name in options.modules if name not in parts]:
        raise ConfigError(f"lora.modules: the model has no module '{wrong[0]}': {did_you_mean(wrong[0], parts)}")

    def moves(name: str) -> bool:
        layer = layer_of(name)
        chosen = not options.modules or any(part in options.modules for part in name.split("."))
        return chosen and (options.frozen == 0 and depth is None if layer is None else layer in moving)

    return {name: p for name, p in model.named_parameters() if id(p) in text and p.is_floating_point() and moves(name)}


class Trainee:
    """A model made ready for training, and back.

    Attributes:
        model: what to run.
        parameters: what to optimise, by name.

    Args:
        model: the base; nothing of it is changed for LoRA.
        options: which weights move.
        seed: of LoRA's random factors.
        depth: how many layers, from the bottom, the losses see; None for all.
        gates: name of a linear module -> (1, I), LoRA's right factor, which stays: then nothing else is trained.
    """

    def __init__(
        self,
        model: Any,
        options: Trained,
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
            self._cast(dict.fromkeys(self.dtypes, torch.float32))  # steps of a small rate vanish in half precision
            chosen = trained_parameters(model, options, depth)
            for parameter in chosen.values():
                parameter.requires_grad_(True)
            self.whole = model
        else:
            names = list(gates) if gates else linear_modules(model, options, depth)
            self.whole = with_lora(model, names, options, seed)
            fuse(self.whole)
            for name, right_1I in (gates or {}).items():
                factor = model.get_submodule(name).lora_A["default"].weight
                factor.data.copy_(right_1I)
                factor.requires_grad_(False)
        self._train(self.whole)

    def shard(self) -> None:
        """From now on each process holds its share of the weights; the base holds none until `task_vector`."""
        self._train(sharded(self.whole))

    def checkpoint_layers(self) -> None:
        """From now on a decoder layer keeps only what goes into it, and is computed again for its gradients."""
        self.checkpointed = list(decoder_layers(self.model))
        again = partial(packed_again, body(self.model))
        for layer in self.checkpointed:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, context_fn=again)

    def _train(self, model: Any) -> None:
        self.model = model
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if self.options.mode == "full":
            self.before = {name: _kept(p.detach()) for name, p in self.parameters.items()}

    def task_vector(self, safety: float) -> TaskVector:
        """What was learnt, and the base as it was before: LoRA is taken off, full weights are put back.

        Raises:
            ModelError: when a trained weight did not move.
        """
        full = self.options.mode == "full"
        tau = TaskVector(dict(self._differences() if full else _lora_deltas(self.model)), safety)
        self._put_back()
        tau.check_moved()
        return tau

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """A block after which, when an error ends it, the base is as it was before; divided weights are left."""
        try:
            yield
        except BaseException:
            if self.model is self.whole:
                self._put_back()
            raise

    @torch.no_grad()
    def _put_back(self) -> None:
        for layer in self.checkpointed:
            layer.__dict__.pop("forward", None)
        for name, value in self.before.items():
            self.parameters[name].copy_(value.to(self.parameters[name].device))
        if self.model is not self.whole:
            give_back(self.whole, self.model)
        if self.options.mode == "full":
            self._cast(self.dtypes)
        else:
            self.whole.unload()
        self.base.requires_grad_(False)

    def _cast(self, dtypes: Mapping[str, torch.dtype]) -> None:
        """Parameters alone: buffers (the frequencies of rotary embeddings) have a precision of their own."""
        for name, parameter in self.base.named_parameters():
            parameter.data = parameter.data.to(dtypes[name])

    @torch.no_grad()
    def _differences(self) -> Iterator[tuple[str, Delta]]:
        for name, parameter in self.parameters.items():
            yield name, whole(parameter.detach() - self.before[name].to(parameter.device)).cpu()


def _kept(value: torch.Tensor) -> torch.Tensor:
    """A copy: of a whole weight on the CPU, of a divided one where it is."""
    return value.clone() if isinstance(value, DTensor) else value.to("cpu", copy=True)


def with_lora(model: Any, names: list[str], options: Trained, seed: int) -> Any:
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
            a_RI = whole(module.lora_A["default"].weight.detach()).float().cpu()
            b_OR = whole(module.lora_B["default"].weight.detach()).float().cpu() * module.scaling["default"]
            base = module.get_base_layer()
            conv = Conv1D in (type(base), getattr(base, "source_cls", None))  # in four bits it is a linear module
            delta = LowRank(a_RI.T.contiguous(), b_OR.T.contiguous()) if conv else LowRank(b_OR, a_RI)
            yield f"{name}.weight", delta

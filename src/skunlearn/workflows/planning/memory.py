"""The memory that the training of a run needs, from the model's shapes and the rows of its steps.

Nothing is run, and the model may be a skeleton without weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skunlearn.methods.base import Method
from skunlearn.models.architecture import layers_needed, linear_modules
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.training.lora import moves_head, trained_layers
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.requirements import (
    StepSize,
    count_parameters,
    count_trainable,
)

# The memory allocator needs this factor for the activations of LoRA training, whose small products
# are allocated between the large ones.
FRAGMENTS = 1.35
# Numbers that are held at once for each scored token and vocabulary entry: logits, log-softmax,
# the base model's logits, and gradients.
PER_SCORE = 5
# Bytes of a weight in NF4: four bits, and an 8-bit scale for every 64 weights.
NF4_BYTES = 0.516
# What the libraries themselves take: threads and kernels on a CPU, the context of a GPU.
ROOM_CPU = 70 * 2**20
ROOM_GPU = 2**30


@dataclass(frozen=True)
class DeviceLayout:
    """How a training is laid out on devices.

    Attributes:
        on_cpu: the device is a CPU; what is moved to CPU memory counts too then.
        checkpointing: gradient checkpointing: only the inputs of each layer are held, and the
            layer is computed again for its gradients.
        devices: on how many devices weights, gradients and optimiser state are sharded; 1 or more.
    """

    on_cpu: bool
    checkpointing: bool = False
    devices: int = 1


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on each device at the peak of the training.

    Attributes:
        whole: all weights before they are sharded, with what is computed beside them.
        weights: this device's share of the weights, and what it gathers of the others.
        state: the two moments of the optimiser, LoRA's factors or the original weights, vectors
            that were trained before, and the base model's head where the head is trained.
        activations: of the largest step.
        logits: of the scored tokens in the largest step, with their losses and gradients.
        gradients: of the trained weights. They grow while activations and logits are freed.
        room: what the libraries take.
    """

    whole: float
    weights: float
    state: float
    activations: float
    logits: float
    gradients: float
    room: float

    @property
    def total(self) -> float:
        """The peak: while the whole weights are loaded, or in the largest step."""
        step = max(self.activations + self.logits, self.gradients)
        return max(self.whole, self.weights + self.state + step) + self.room


def estimate_memory(
    model: Any, run: Run, method: Method, steps: Sequence[StepSize], layout: DeviceLayout
) -> MemoryEstimate:
    """Estimate the memory of the training.

    Args:
        model: with or without weights, in the data type in which they are loaded.
        run: the settings.
        method: the run's method.
        steps: all steps of all vectors.
        layout: the devices.
    """
    config = model.config.get_text_config()
    full = run.lora.mode == "full"
    trainable = count_trainable(model, run, method)
    weights = 4 * count_parameters(model) if full else _held_weights(model, run.lora.nf4)
    weight_size = 4 if full else model.dtype.itemsize

    # The whole weights: beside them the detectors are fitted, before anything is sharded. After
    # QLoRA the weights come back without quantisation.
    fitted = weights + _detector_bytes(run, method, _inner_width(config))
    whole = max(fitted, weight_size * count_parameters(model))

    # In the steps, each device has its share of the weights, and gathers one layer at a time.
    gathered = weight_size * _gathered(model) if layout.devices > 1 else 0

    # Two moments and one copy of 4 bytes each: LoRA's factors, or the original weights. Full
    # weights keep that copy on the CPU where a single other device trains them.
    copy_on_device = not full or layout.on_cpu or layout.devices > 1
    state = (12 if copy_on_device else 8) * trainable / layout.devices
    earlier_vectors = 4 * trainable * (len(run.stages(method)) - 1) if layout.on_cpu else 0
    state = state + earlier_vectors + _head_copy_bytes(model, run, method)

    return MemoryEstimate(
        whole=whole,
        weights=weights / layout.devices + gathered,
        state=state,
        activations=_activation_bytes(model, run, method, steps, layout),
        logits=4.0 * PER_SCORE * config.vocab_size * max(step.scored for step in steps),
        gradients=4 * trainable / layout.devices,
        room=ROOM_CPU if layout.on_cpu else ROOM_GPU,
    )


def _held_weights(model: Any, nf4: bool) -> float:
    """Bytes of the weights during LoRA training, with QLoRA those of the linear modules in NF4."""
    total = float(sum(p.numel() * p.element_size() for p in model.parameters()))
    quantised = any(hasattr(parameter, "quant_state") for parameter in model.parameters())
    if nf4 and not quantised:  # a skeleton, whose weights are not quantised yet
        saved = []
        for name in linear_modules(model):
            weight = model.get_submodule(name).weight
            saved.append(weight.numel() * (weight.element_size() - NF4_BYTES))
        total -= sum(saved)
    return total


def _detector_bytes(run: Run, method: Method, inner: int) -> int:
    """What fitting the detectors takes: two second moments (I, I) of each, and a product.

    Args:
        run: the settings.
        method: the run's method.
        inner: I, the width of the feed-forward part.
    """
    most = 0  # detectors that one stage fits
    for stage in run.stages(method):
        if stage.method.detector:
            most = max(most, len(stage.method.detector.layers))
    if not most:
        return 0
    return 4 * inner**2 * (2 * most + 1)


def _head_copy_bytes(model: Any, run: Run, method: Method) -> int:
    """The base model's language head, which is kept for its predictions where training moves it."""
    depth = layers_needed(model, method.hidden_layers)
    if method.reference_roles and moves_head(model, run.lora, depth):
        return int(4 * model.get_output_embeddings().weight.numel())
    return 0


def _activation_bytes(
    model: Any, run: Run, method: Method, steps: Sequence[StepSize], layout: DeviceLayout
) -> float:
    """Activations of the largest step, as far as the trained layers keep them for the gradients."""
    config = model.config.get_text_config()
    hidden = config.hidden_size
    depth = layers_needed(model, method.hidden_layers)
    layers = len(trained_layers(model, run.lora, depth))

    # Numbers for each token: 8 H and 4 I in a layer. The attention reads each row by itself, which
    # takes 3 H more for each of the rows' tokens. With checkpointing a layer keeps its input, and
    # one layer at a time is whole.
    in_layer = 8 * hidden + 4 * _inner_width(config)
    if layout.checkpointing:
        per_token = layers * hidden + in_layer
        per_read_token = 0
    else:
        per_token = layers * in_layer
        per_read_token = layers * 3 * hidden

    # A step that is divided into parts has one part in memory. Rows share beginnings in a whole
    # step only, so a part may have more tokens than its share.
    parts = run.compute.accumulate
    numbers = []
    for step in steps:
        tokens = step.tokens if parts == 1 else max(step.tokens, step.read) / parts
        numbers.append(tokens * per_token + step.read / parts * per_read_token)

    four_bytes = layout.on_cpu and run.compute.precision != "bfloat16"
    number_size = 4 if four_bytes else 2
    factor = 1.0 if run.lora.mode == "full" else FRAGMENTS
    return factor * number_size * max(numbers)


def _inner_width(config: Any) -> int:
    """Width of the feed-forward part that one token passes through."""
    width = getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None)
    experts = getattr(config, "num_experts_per_tok", None) or 1
    return int(width or 4 * config.hidden_size) * int(experts)


def _gathered(model: Any) -> int:
    """Parameters that a device gathers from the others: the largest layer, and all that lies
    outside the layers."""
    sizes: dict[int | None, int] = {}
    for name, parameter in model.named_parameters():
        layer = layer_of(name)
        sizes[layer] = sizes.get(layer, 0) + parameter.numel()
    outside = sizes.pop(None, 0)
    return outside + max(sizes.values())

"""What training needs: memory and time, from a model's shapes and the rows of its steps. Nothing is
run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from skunlearn.data.batches import length_groups, pack
from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data
from skunlearn.methods.base import Method
from skunlearn.models.architecture import layers_needed, linear_modules, text_decoder
from skunlearn.models.forward import ANOTHER_GROUP, ANOTHER_PASS
from skunlearn.models.packed_attention import may_pack
from skunlearn.models.qlora import true_shape
from skunlearn.task_vectors.parameter_names import layer_of
from skunlearn.training.rows import Rows, scored_tokens
from skunlearn.training.trainable import (
    moves_head,
    trained_layers,
    trained_modules,
    trained_parameters,
)
from skunlearn.workflows.config import Run, Stage

PROBE_SECONDS = 0.15
TRAIN_SHARE, DECODE_SHARE = (
    0.55,
    0.3,
)  # of the matrix-multiply peak that training and decoding reach
# what activations take of the allocator beside LoRA, whose own products come and go between them
FRAGMENTS = 1.35
PER_SCORE = 5  # numbers held at once for each scored token and word: logits, log-softmaxes, the base's, gradients
NF4_BYTES = 0.516  # a weight: four bits, and a scale for every 64, itself in eight bits
ROOM_CPU, ROOM_GPU = 70 * 2**20, 2**30  # libraries' own: threads and kernels; a GPU's context


@dataclass(frozen=True)
class StepSize:
    """One optimiser step.

    Attributes:
        rows: prompts with an answer.
        read: tokens of all rows.
        tokens: that go through the body, padding included, shared beginnings once.
        scored: tokens that are scored.
    """

    rows: int
    read: int
    tokens: int
    scored: int


@dataclass(frozen=True)
class DeviceLayout:
    """How training is laid out.

    Attributes:
        on_cpu: the device is a CPU, so that what is kept beside it counts too.
        checkpointing: only what goes into each layer is held; the layer is computed again for its
            gradients.
        devices: that weights, gradients and optimiser state are divided among, 1 or more.
    """

    on_cpu: bool
    checkpointing: bool = False
    devices: int = 1


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on each device at the peak of training.

    Attributes:
        whole: all weights as training wants them, before they are divided.
        weights: this device's share of them, and what it gathers of the others.
        state: two moments of what is trained, LoRA's factors or the weights as they were; vectors
            trained before; the head as it was, where it is trained.
        activations: of the largest step.
        logits: of its scored tokens, with their losses and gradients.
        gradients: of what is trained; they come as activations and logits go.
        room: what libraries take.
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
        """The peak; each device holds all weights once, before they are divided."""
        step = max(self.activations + self.logits, self.gradients)
        return max(self.whole, self.weights + self.state + step) + self.room


def step_sizes(stage: Stage, lm: Any, data: Data) -> list[StepSize]:
    """The steps of a vector.

    Args:
        stage: its method and options.
        lm: its `template` makes tokens of the examples, its `model` says how they can be laid out;
            nothing is run.
        data: whose training part is used.
    """
    rows = Rows(lm, data, stage.method, stage.options.batch, stage.options.seed)
    found = []
    for number in range(stage.options.steps):
        taken = [row for role in rows.at(number).values() for row in role]
        found.append(
            StepSize(
                len(taken), sum(map(len, taken)), _tokens(lm.model, taken), scored_tokens(taken)
            )
        )
    return found


def _tokens(model: Any, rows: Sequence[Encoded]) -> int:
    if may_pack(text_decoder(model), rows):
        return pack(rows, ANOTHER_GROUP).input_ids_BT.numel()
    lengths = [len(row) for row in rows]
    return sum(
        max(lengths[one] for one in group) * len(group)
        for group in length_groups(lengths, ANOTHER_PASS)
    )


def count_parameters(model: Any) -> int:
    """Parameters of a model, tied ones once."""
    return sum(true_shape(p).numel() for p in model.parameters())


def count_trainable(model: Any, run: Run, method: Method) -> int:
    """Parameters that are trained."""
    depth = layers_needed(model, method.hidden_layers)
    if method.detector:
        return int(len(method.detector.layers) * model.config.get_text_config().hidden_size)
    if run.lora.mode == "full":
        return sum(
            parameter.numel() for parameter in trained_parameters(model, run.lora, depth).values()
        )
    shapes = [
        true_shape(model.get_submodule(name).weight)
        for name in trained_modules(model, run.lora, depth)
    ]
    return sum(run.lora.rank * (shape[0] + shape[1]) for shape in shapes)


def estimate_memory(
    model: Any, run: Run, method: Method, steps: Sequence[StepSize], layout: DeviceLayout
) -> MemoryEstimate:
    """Memory of training.

    Args:
        model: with its weights or without, in the type that they are loaded in.
        run: what is trained.
        method: the losses.
        steps: all steps of all vectors.
        layout: on what, and how.
    """
    config, full = model.config.get_text_config(), run.lora.mode == "full"
    trainable = count_trainable(model, run, method)
    size = 4 if full else model.dtype.itemsize
    weights = 4 * count_parameters(model) if full else _held(model, run.lora.nf4)
    layers = len(trained_layers(model, run.lora, layers_needed(model, method.hidden_layers)))
    kept_here = layout.on_cpu or layout.devices > 1
    before = (
        4 * trainable * (len(run.stages(method)) - 1) if layout.on_cpu else 0
    )  # vectors wait on the CPU
    copied = method.reference_roles and moves_head(
        model, run.lora, layers_needed(model, method.hidden_layers)
    )
    head = (
        4 * model.get_output_embeddings().weight.numel() if copied else 0
    )  # the base's, for its predictions
    hidden, inner, parts = config.hidden_size, _inner(config), run.compute.accumulate
    wide = 8 * hidden + 4 * inner
    number = 4 if layout.on_cpu and run.compute.precision != "bfloat16" else 2
    a_token = layers * hidden + wide if layout.checkpointing else layers * wide
    of_rows = (
        0 if layout.checkpointing else layers * 3 * hidden
    )  # attention is given each row's tokens for itself
    # parts share no beginnings
    tokens = [
        (step.tokens if parts == 1 else max(step.tokens, step.read) / parts, step.read / parts)
        for step in steps
    ]
    step_numbers = max(here * a_token + read * of_rows for here, read in tokens)
    gated = max(
        len(stage.method.detector.layers) if stage.method.detector else 0
        for stage in run.stages(method)
    )
    return MemoryEstimate(
        # with the gates' second moments, before anything is divided; after QLoRA come the weights
        # as they were
        whole=max(
            weights + 4 * inner**2 * (2 * gated + 1 if gated else 0), size * count_parameters(model)
        ),
        weights=weights / layout.devices + (size * _gathered(model) if layout.devices > 1 else 0),
        state=(12 if kept_here or not full else 8) * trainable / layout.devices + before + head,
        activations=(1.0 if full else FRAGMENTS) * number * step_numbers,
        logits=4.0 * PER_SCORE * config.vocab_size * max(step.scored for step in steps),
        gradients=4 * trainable / layout.devices,
        room=ROOM_CPU if layout.on_cpu else ROOM_GPU,
    )


def train_seconds(
    model: Any, run: Run, steps: Sequence[StepSize], flops: float, checkpointing: bool = False
) -> float:
    """Seconds of training on devices that multiply matrices with so many operations a second,
    together."""
    trained = 1 - run.lora.frozen
    passes = (
        2 + 2 * trained + (2 * trained if run.lora.mode == "full" else 0)
    )  # 2 operations a weight and pass:
    passes += (
        2 * trained if checkpointing else 0
    )  # forward, activations' gradients, weights' gradients, again
    passes += 2 if run.compute.accumulate > 1 else 0  # each part passes once more
    return (
        sum(step.tokens for step in steps) * count_parameters(model) * passes / flops / TRAIN_SHARE
    )


def evaluate_seconds(model: Any, run: Run, steps: Sequence[StepSize], flops: float) -> float:
    """Seconds of choosing the strength and evaluating, at most: when no answer ends early, and the
    ordinary answers whose likelihood is measured are as long as the rows of the longest step."""
    edit, test = run.edit, run.evaluate
    tried = 1 + len(edit.alphas) if edit.alpha is None else 0
    chosen = tried * (edit.forget + edit.retain + edit.lookalike) * edit.max_new_tokens
    written = (
        chosen + 2 * (test.forget + test.seen + test.retain + test.lookalike) * test.max_new_tokens
    )
    read = (tried * edit.retain + 2 * test.retain) * max(step.read / step.rows for step in steps)
    return 2 * count_parameters(model) * (written / DECODE_SHARE + read / TRAIN_SHARE) / flops


@torch.no_grad()
def matmul_flops(width: int, dtype: torch.dtype, device: torch.device) -> float:
    """Operations of matrix products a second (a multiply and an add are two) of this device, at a
    model's width."""
    a = torch.randn(256, width, dtype=dtype, device=device)
    b = torch.randn(width, 4 * width, dtype=dtype, device=device)
    a @ b
    start, times = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < PROBE_SECONDS:
        (a @ b)[0, 0].item()
        times += 1
    return times * 2.0 * 256 * width * 4 * width / spent


def _held(model: Any, nf4: bool) -> float:
    """Bytes of the weights while LoRA is trained: as they are, or those of the layers' linear
    modules in four bits."""
    total = float(sum(p.numel() * p.element_size() for p in model.parameters()))
    if nf4 and not any(hasattr(p, "quant_state") for p in model.parameters()):  # of a sketch
        linear = list(linear_modules(model))
        total -= sum(
            (w := model.get_submodule(name).weight).numel() * (w.element_size() - NF4_BYTES)
            for name in linear
        )
    return total


def _inner(config: Any) -> int:
    """Width of the feed-forward part that a token goes through."""
    inner = (
        getattr(config, "intermediate_size", None)
        or getattr(config, "ffn_dim", None)
        or 4 * config.hidden_size
    )
    return int(inner) * int(getattr(config, "num_experts_per_tok", None) or 1)


def _gathered(model: Any) -> int:
    """Parameters that a device gathers of the others: one layer, and all that lies outside the
    layers."""
    layers: dict[int | None, int] = {}
    for name, parameter in model.named_parameters():
        layers[layer_of(name)] = layers.get(layer_of(name), 0) + parameter.numel()
    return layers.pop(None, 0) + max(layers.values())

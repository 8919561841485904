"""The steps of a run, the parameters that it trains, and the time that it takes.

All of it comes from the model's shapes and the rows of its steps. Nothing is run, and the model may
be a skeleton without weights.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from skunlearn.data.batches import length_groups, pack
from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data
from skunlearn.methods.base import Method
from skunlearn.models.architecture import layers_needed, text_decoder
from skunlearn.models.forward import ANOTHER_GROUP, ANOTHER_PASS
from skunlearn.models.packed_attention import may_pack
from skunlearn.models.qlora import true_shape
from skunlearn.training.lora import trained_modules, trained_parameters
from skunlearn.training.rows import Rows, scored_tokens
from skunlearn.workflows.config import Run, Stage

# How long `matmul_flops` multiplies matrices, in seconds.
PROBE_SECONDS = 0.15
# Shares of a device's matrix-multiply rate that training and generation reach.
TRAIN_SHARE = 0.55
DECODE_SHARE = 0.3


@dataclass(frozen=True)
class StepSize:
    """The size of one optimiser step.

    Attributes:
        rows: prompts with an answer.
        read: tokens of all rows.
        tokens: tokens that pass through the decoder: with padding, and with beginnings that rows
            share counted once.
        scored: tokens of the answers.
    """

    rows: int
    read: int
    tokens: int
    scored: int


def step_sizes(stage: Stage, lm: Any, data: Data) -> list[StepSize]:
    """The sizes of all steps of a stage.

    Args:
        stage: its method and options.
        lm: its `template` encodes the examples, and its `model` decides how they are batched.
        data: its training split is used.
    """
    rows = Rows(lm, data, stage.method, stage.options.batch, stage.options.seed)
    sizes = []
    for step in range(stage.options.steps):
        taken = list(chain.from_iterable(rows.at(step).values()))
        sizes.append(
            StepSize(
                rows=len(taken),
                read=sum(map(len, taken)),
                tokens=_decoder_tokens(lm.model, taken),
                scored=scored_tokens(taken),
            )
        )
    return sizes


def _decoder_tokens(model: Any, rows: Sequence[Encoded]) -> int:
    """Tokens that pass through the decoder for these rows, packed or padded."""
    if may_pack(text_decoder(model), rows):
        return pack(rows, ANOTHER_GROUP).input_ids_BT.numel()
    lengths = list(map(len, rows))
    tokens = 0
    for group in length_groups(lengths, ANOTHER_PASS):
        tokens += max(lengths[number] for number in group) * len(group)
    return tokens


def count_parameters(model: Any) -> int:
    """Parameters of a model; tied ones count once."""
    return sum(true_shape(parameter).numel() for parameter in model.parameters())


def count_trainable(model: Any, run: Run, method: Method) -> int:
    """Parameters that are trained by a method."""
    depth = layers_needed(model, method.hidden_layers)
    if method.detector:  # one direction in each of its layers
        return int(len(method.detector.layers) * model.config.get_text_config().hidden_size)
    if run.lora.mode == "full":
        parameters = trained_parameters(model, run.lora, depth)
        return sum(parameter.numel() for parameter in parameters.values())
    trainable = 0
    for name in trained_modules(model, run.lora, depth):
        shape = true_shape(model.get_submodule(name).weight)
        trainable += run.lora.rank * (shape[0] + shape[1])
    return trainable


def train_seconds(
    model: Any, run: Run, steps: Sequence[StepSize], flops: float, checkpointing: bool = False
) -> float:
    """Estimate the seconds of the training.

    Args:
        model: with or without weights.
        run: the settings.
        steps: all steps of all vectors.
        flops: operations of matrix products a second, of all devices together.
        checkpointing: whether the trained layers are computed twice.
    """
    # Operations for each weight and token: a multiply and an add in each pass.
    trained = 1 - run.lora.frozen
    passes = 2 + 2 * trained  # forward, and the gradients of the activations
    if run.lora.mode == "full":
        passes += 2 * trained  # the gradients of the weights
    if checkpointing:
        passes += 2 * trained  # forward again
    if run.compute.accumulate > 1:
        passes += 2  # each part passes once more
    tokens = sum(step.tokens for step in steps)
    return tokens * count_parameters(model) * passes / flops / TRAIN_SHARE


def evaluate_seconds(model: Any, run: Run, steps: Sequence[StepSize], flops: float) -> float:
    """Estimate the most seconds that choosing the strength and the evaluation take.

    No completion is assumed to end early, and the retain rows whose likelihood is measured are
    assumed to be as long as the rows of the longest step.

    Args:
        model: with or without weights.
        run: the settings.
        steps: all steps of all vectors.
        flops: operations of matrix products a second.
    """
    edit = run.edit
    test = run.evaluate
    # Generated tokens: on the validation split by the base model and for each strength, on the
    # test split by the base model and the edited one.
    tried = 1 + len(edit.alphas) if edit.alpha is None else 0
    chosen = tried * (edit.forget + edit.retain + edit.lookalike) * edit.max_new_tokens
    test_prompts = test.forget + test.seen + test.retain + test.lookalike
    generated = chosen + 2 * test_prompts * test.max_new_tokens

    longest = max(step.read / step.rows for step in steps)
    read = (tried * edit.retain + 2 * test.retain) * longest
    shares = generated / DECODE_SHARE + read / TRAIN_SHARE
    return 2 * count_parameters(model) * shares / flops


@torch.no_grad()
def matmul_flops(width: int, dtype: torch.dtype, device: torch.device) -> float:
    """Measure the operations of matrix products a second; a multiply and an add are two.

    Args:
        width: hidden size of the model, whose matrices are multiplied.
        dtype: of the matrices.
        device: where they are multiplied.
    """
    a = torch.randn(256, width, dtype=dtype, device=device)
    b = torch.randn(width, 4 * width, dtype=dtype, device=device)
    a @ b  # warm up
    start = time.perf_counter()
    spent = 0.0
    times = 0
    while spent < PROBE_SECONDS:
        (a @ b)[0, 0].item()  # waits for the device
        times += 1
        spent = time.perf_counter() - start
    return times * 2.0 * 256 * width * 4 * width / spent

"""What a run would do, before it does it: the data, one example as the model sees it, memory and time."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from skunlearn.config import Run
from skunlearn.data.load import Data
from skunlearn.lm.forward import depth_of
from skunlearn.lm.lora import linear_modules, trained_layers, trained_parameters
from skunlearn.lm.model import LM
from skunlearn.lm.nf4 import true_shape
from skunlearn.methods.base import Method
from skunlearn.train import Rows, scored_tokens

PROBE_SECONDS = 0.15
TRAIN_SHARE, DECODE_SHARE = 0.55, 0.3  # of the matrix-multiply peak that training and decoding reach


@dataclass(frozen=True)
class Plan:
    """What `skunlearn plan` shows.

    Attributes:
        prompt: one rendered training prompt, as the model sees it.
        answer: its scored tokens, apart.
        funnel: (set, what was done, rows left).
        parts: rows in train, validation and test of each set.
        weights: parameters of the model.
        trainable: parameters that are trained.
        memory_bytes: estimate of the peak in stage 1.
        train_seconds: estimate for stage 1.
        evaluate_seconds: estimate for choosing the strength and the evaluation.
    """

    prompt: str
    answer: list[str]
    funnel: list[tuple[str, str, int]]
    parts: dict[str, tuple[int, int, int]]
    weights: int
    trainable: int
    memory_bytes: float
    train_seconds: float
    evaluate_seconds: float

    def __str__(self) -> str:
        marked = "".join(f"[{token}]" for token in self.answer)
        lines = ["one training example; tokens in [brackets] are scored:", _indented(self.prompt + marked), "data:"]
        lines += [f"  {side:<10} {step}: {rows}" for side, step, rows in self.funnel]
        lines += [f"  {side:<10} train {a}, validation {b}, test {c}" for side, (a, b, c) in self.parts.items()]
        lines += [
            f"trained: {self.trainable:,} of {self.weights:,} parameters ({self.trainable / self.weights:.1%})",
            f"estimate: {self.memory_bytes / 2**30:.1f} GiB, {self.train_seconds / 60:.1f} minutes of training, "
            f"{self.evaluate_seconds / 60:.1f} minutes of evaluation at most",
        ]
        return "\n".join(lines)


def make_plan(lm: LM, data: Data, method: Method, run: Run) -> Plan:
    """The plan of a run.

    Raises:
        DataError: when a row does not fit into `data.max_length`.
    """
    shown = lm.template.encode(data.train.forget[0], run.data.max_length)
    weights = sum(true_shape(p).numel() for p in lm.model.parameters())
    depth = depth_of(lm.model, method.layers)
    trainable = _trainable(lm.model, run, depth)
    stages = [_step_sizes(Rows(lm, data, s.method, s.options), s.options.steps) for s in run.stages(method)]
    sizes = [size for stage in stages for size in stage]
    tokens = [tokens for tokens, _ in sizes]
    flops = _matmul_flops(lm.model)
    return Plan(
        prompt=lm.tokenizer.decode(shown.prompt_ids),
        answer=[lm.tokenizer.decode([token]) for token in shown.answer_ids],
        funnel=data.funnel,
        parts={
            side: (len(getattr(data.train, side)), len(getattr(data.validation, side)), len(getattr(data.test, side)))
            for side in ("forget", "retain", "lookalike")
        },
        weights=weights,
        trainable=trainable,
        memory_bytes=_memory(
            lm.model,
            trainable,
            len(trained_layers(lm.model, run.lora, depth)),
            max(tokens),
            max(scored for _, scored in sizes),
        ),
        train_seconds=sum(tokens) * weights * _passes(run) / flops / TRAIN_SHARE,
        evaluate_seconds=_answer_tokens(run) * 2 * weights / flops / DECODE_SHARE,
    )


def _step_sizes(rows: Rows, steps: int) -> list[tuple[int, int]]:
    """Tokens with their padding, and scored tokens, of each step."""
    batches = [[row for role in rows.at(step).values() for row in role] for step in range(steps)]
    return [(max(map(len, batch)) * len(batch), scored_tokens(batch)) for batch in batches]


def _trainable(model: Any, run: Run, depth: int | None) -> int:
    if run.lora.mode == "full":
        return sum(parameter.numel() for parameter in trained_parameters(model, run.lora, depth).values())
    shapes = [true_shape(model.get_submodule(name).weight) for name in linear_modules(model, run.lora, depth)]
    return sum(run.lora.rank * (shape[0] + shape[1]) for shape in shapes)


def _passes(run: Run) -> float:
    """FLOPs a token and weight: 2 forward, 2 for the gradient of the activations, 2 for that of full weights."""
    trained = 1 - run.lora.frozen
    return 2 + 2 * trained + (2 * trained if run.lora.mode == "full" else 0)


def _memory(model: Any, trainable: int, layers: int, tokens: int, scored: int) -> float:
    """Weights; what is trained, its gradient and two moments (in full training a copy too); what a step holds."""
    config = model.config
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    state = 16 * trainable
    wide = config.hidden_size * 8 + 4 * (getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    return weights + state + 4.0 * tokens * layers * wide + 4.0 * scored * config.vocab_size * 4


def _answer_tokens(run: Run) -> int:
    edit, test = run.edit, run.evaluate
    tried = 1 + len(edit.alphas) if edit.alpha is None else 0
    chosen = tried * (edit.forget + edit.retain + edit.lookalike) * edit.max_new_tokens
    return chosen + 2 * (test.forget + test.seen + test.retain + test.lookalike) * test.max_new_tokens


@torch.no_grad()
def _matmul_flops(model: Any) -> float:
    """Multiply-adds of this device a second, twice, at the model's own width."""
    width = model.config.hidden_size
    a = torch.randn(256, width, dtype=model.dtype, device=model.device)
    b = torch.randn(width, 4 * width, dtype=model.dtype, device=model.device)
    a @ b
    start, times = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < PROBE_SECONDS:
        (a @ b)[0, 0].item()
        times += 1
    return times * 2.0 * 256 * width * 4 * width / spent


def _indented(text: str) -> str:
    return "\n".join("  | " + line for line in text.splitlines())

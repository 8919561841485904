"""The one training loop: any method, LoRA or full weights, in -> TaskVector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from skunlearn.compute import Compute
from skunlearn.data.builtin_sets import builtin_rows
from skunlearn.data.chat_template import Encoded, shortened
from skunlearn.data.dataset import Data
from skunlearn.lm.fsdp import whole
from skunlearn.lm.gate import fitted_gates
from skunlearn.lm.lora import Trained, Trainee, moves_head
from skunlearn.lm.spread import Spread
from skunlearn.methods.base import Method, Scored
from skunlearn.models.architecture import depth_of
from skunlearn.models.forward import head_logits
from skunlearn.models.lm import LM
from skunlearn.models.reference import Reference
from skunlearn.state import TrainingState
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.allocator import kept
from skunlearn.training.rows import Sampler
from skunlearn.utils.distributed import average_gradients, told
from skunlearn.utils.errors import ConfigError, TrainingError
from skunlearn.utils.progress import Progress

Record = dict[str, float]
BENIGN, HARMFUL = ("retain", "lookalike"), ("forget", "mismatch", "unrelated", "refusal")


@dataclass(frozen=True)
class TrainOptions:
    """How stage 1 is trained.

    Attributes:
        steps: optimiser steps (1 or more).
        batch: rows of each set in a step (1 or more).
        lr: peak learning rate of AdamW, reached at once and decayed linearly to 0.
        clip: largest gradient norm.
        checkpoint: steps between two private states for resuming.
        seed: of the order of rows and LoRA's random factors.
    """

    steps: int = 10
    batch: int = 3
    lr: float = 6e-4
    clip: float = 1.0
    checkpoint: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint", "lr", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"train.{name}={getattr(self, name)}: give a number above 0")


class Rows:
    """The training rows as tokens, and those that each step takes."""

    def __init__(self, lm: LM, data: Data, method: Method, options: TrainOptions) -> None:
        self.length = length = data.options.max_length
        self.method = method
        self.forget = [lm.template.encode(example, length) for example in data.train.forget]
        self.benign = [
            shortened(lm.template.encode(example, length), method.keep_tokens)
            for example in (*data.train.retain, *data.train.lookalike)
        ]
        self.first_lookalike = len(data.train.retain)
        texts = [row["answer"] for row in builtin_rows("refusals")]
        self.refusals = [lm.template.answer_ids(text)[: method.refusal_tokens] for text in texts]
        keys = [example.key for example in data.train.forget]
        mixes = any(role in method.roles for role in ("mismatch", "unrelated"))
        self.sampler = Sampler(keys, options.batch, method.mismatched if mixes else 0, options.seed)

    def at(self, step: int, roles: Sequence[str] | None = None) -> dict[str, list[Encoded]]:
        """The rows of a step by role: of all that the method has, or of these."""

        def joined(asked: int, answer_ids: tuple[int, ...]) -> Encoded:
            prompt_ids = self.forget[asked].prompt_ids
            return Encoded(prompt_ids, answer_ids[: self.length - len(prompt_ids)])

        make: dict[str, Callable[[], list[Encoded]]] = {
            "forget": lambda: [self.forget[row] for row in self.sampler.forget_rows(step)],
            "mismatch": lambda: [
                joined(asked, self.forget[given].answer_ids) for asked, given in self.sampler.mismatch_rows(step)
            ],
            "unrelated": lambda: [
                joined(asked, self.benign[given].answer_ids)
                for asked, given in self.sampler.unrelated_rows(step, self.first_lookalike)
            ],
            "refusal": lambda: [
                joined(asked, self.refusals[given])
                for asked, given in self.sampler.refusal_rows(step, len(self.refusals))
            ],
            "retain": lambda: [self.benign[row] for row in self.benign_rows("retain", step)],
            "lookalike": lambda: [self.benign[row] for row in self.benign_rows("lookalike", step)],
        }
        made = {role: make[role]() for role in (self.method.roles if roles is None else roles)}
        return {role: rows for role, rows in made.items() if rows}

    def gates(self, lm: LM, progress: Progress) -> dict[str, torch.Tensor] | None:
        """Those of the method, where it has any: a row of each harmful prompt against harmless ones."""
        if self.method.gate is None:
            return None
        asked = [*{row.prompt_ids: row for row in self.forget}.values()]
        ordinary, alike = self.benign[: self.first_lookalike], self.benign[self.first_lookalike :]
        fitted = fitted_gates(lm.model, asked, ordinary, alike, self.method.gate, progress)
        return told(fitted)  # the first process's: others' last bits may differ

    def benign_rows(self, role: str, step: int) -> list[int]:
        """Numbers of the ordinary rows that "retain" or "lookalike" takes."""
        first, n = 0, self.first_lookalike
        if role == "lookalike":
            first, n = n, len(self.benign) - n
        return [first + row for row in self.sampler.rows(role, n, step, self.method.kept)]

    def benign_used(self, steps: int) -> set[int]:
        """Ordinary rows that any of the steps takes."""
        roles = [role for role in self.method.roles if role in BENIGN]
        return {row for step in range(steps) for role in roles for row in self.benign_rows(role, step)}

    def referenced(self, steps: int) -> list[Encoded]:
        """The distinct rows whose base predictions any of the steps needs; ordinary ones in the order of their set,
        since rows that share a pass decide each other's last bits."""
        taken = [self.at(step, self.method.referenced) for step in range(steps)]
        seen = dict.fromkeys(row for by_role in taken for rows in by_role.values() for row in rows)
        order = {row: number for number, row in enumerate(self.benign)}
        return sorted(seen, key=lambda row: order.get(row, len(order)))

    def used(self, steps: int) -> dict[str, int]:
        """How many different rows of each set the steps take."""
        asks = any(role in HARMFUL for role in self.method.roles)
        seen = {row for step in range(steps if asks else 0) for row in self.sampler.forget_rows(step)}
        return {"forget": len(seen), "retain": len(self.benign_used(steps))}


def train(
    lm: LM,
    method: Method,
    data: Data,
    options: TrainOptions | None = None,
    trained: Trained | None = None,
    *,
    compute: Compute | None = None,
    state: Path | None = None,
    progress: Progress | None = None,
    record: Callable[[Record], None] | None = None,
) -> TaskVector:
    """Train a copy of the model's behaviour and return what it learnt; the model itself comes back as it was.

    Where torch.distributed is initialised, all its processes call this alike, share the rows, and return the same.

    Args:
        lm: the base.
        method: the losses.
        data: its `train` part is used.
        options: steps, rates, seed.
        trained: which weights move.
        compute: memory against time.
        state: a folder for a private state; training continues from it when there is one, and it is gone at the end.
        progress: is told of each step.
        record: is given each step's losses.

    Raises:
        ConfigError: when weights are to be divided among processes, and there is one.
        TrainingError: when a loss is not finite.
        ModelError: when a trained weight did not move.
    """
    from transformers import get_linear_schedule_with_warmup

    options, compute, progress = options or TrainOptions(), compute or Compute(), progress or Progress()
    rows, trained = Rows(lm, data, method, options), trained or Trained()
    depth = depth_of(lm.model, method.layers)
    trainee = Trainee(lm.model, trained, options.seed, depth, rows.gates(lm, progress))
    with kept(), trainee.borrowed():
        reference = _reference(lm, rows, trainee, options.steps, progress)
        compute.prepare(trainee, reference)
        optimizer = torch.optim.AdamW(trainee.parameters.values(), lr=options.lr, weight_decay=0.0)
        schedule = get_linear_schedule_with_warmup(optimizer, 0, options.steps)
        weights = _Weights(method, options.steps)
        keeper = TrainingState(state, trainee, optimizer, schedule, weights)
        spread = compute.spread(trainee.model, method.layers)
        progress.start("stage 1", options.steps)
        for step in range(keeper.restore(), options.steps):
            with compute.autocast(lm.model.device):
                terms = weights.applied(step, method.loss(_forward(spread, rows, step, reference)))
            loss = torch.stack(list(terms.values())).sum()
            values = {"loss": loss.item()} | {name: term.item() for name, term in terms.items()}
            _check_finite(values, step)
            loss.backward()
            spread.backward()
            if not compute.divides:  # divided weights come with averaged gradients
                average_gradients(trainee.parameters.values())
            norm = whole(torch.nn.utils.clip_grad_norm_(trainee.parameters.values(), options.clip))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if record:
                record({"step": step + 1, **values, "gradient_norm": float(norm)})
            if (step + 1) % options.checkpoint == 0 and step + 1 < options.steps:
                keeper.save(step + 1)
            progress.step(step + 1, **values)
    progress.stop()
    return trainee.task_vector(method.edit_scale)


def _reference(lm: LM, rows: Rows, trainee: Trainee, steps: int, progress: Progress) -> Reference | None:
    """Where the method asks for it; before a state is restored: LoRA begins at 0, so this still is the base."""
    method = rows.method
    if not method.referenced:
        return None
    known = rows.referenced(steps)
    moves = moves_head(lm.model, trainee.options, depth_of(lm.model, method.layers))
    return Reference(lm.model, known, range(len(known)), moves, progress, method.layers, together=True)


def _forward(spread: Spread, rows: Rows, step: int, reference: Reference | None) -> dict[str, Scored]:
    """All roles together; the scored tokens come apart again by row."""
    by_role = rows.at(step)
    states = spread.states([row for role_rows in by_role.values() for row in role_rows])
    counts = [scored_tokens(role_rows) for role_rows in by_role.values()]
    logits = head_logits(spread.model, states.hidden_ND).split(counts)  # slices would each have a gradient of all
    labels, row_numbers = states.labels_N.split(counts), states.row_N.split(counts)
    layers = {share: hidden_ND.split(counts) for share, hidden_ND in states.layers.items()}
    scored: dict[str, Scored] = {}
    first_row = 0
    for place, (role, role_rows) in enumerate(by_role.items()):
        needed = reference if role in rows.method.referenced else None
        numbers = [needed.numbers[row] for row in role_rows] if needed else []
        scored[role] = Scored(
            logits[place],
            labels[place],
            row_numbers[place] - first_row,
            needed.logits(numbers) if needed else None,
            {share: parts[place] for share, parts in layers.items()},
            needed.layer_outputs(numbers) if needed else {},
        )
        first_row += len(role_rows)
    return scored


def _check_finite(values: Record, step: int) -> None:
    if wrong := [name for name, value in values.items() if not abs(value) < float("inf")]:
        raise TrainingError(
            f"step {step + 1}: {wrong[-1]} is {values[wrong[-1]]}: lower train.lr, or load the model in float32"
        )


class _Weights:
    """What `Method.weights` makes of the terms, step by step."""

    def __init__(self, method: Method, steps: int) -> None:
        self.method, self.steps = method, steps
        self.last: Record = {}
        self.terms: Record = {}

    def applied(self, step: int, terms: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.last = self.method.weights((step + 1) / self.steps, self.last, self.terms)
        self.terms = {name: term.item() for name, term in terms.items()}
        return {name: self.last[name] * term if name in self.last else term for name, term in terms.items()}


def scored_tokens(rows: Sequence[Encoded]) -> int:
    """How many tokens of these rows are scored."""
    return sum(len(row.answer_ids) for row in rows)

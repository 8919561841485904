"""What a run would do, before it does it: the data, one example as the model sees it, memory and
time."""

from dataclasses import dataclass

from skunlearn.data.dataset import Data
from skunlearn.data.examples import distinct
from skunlearn.methods.base import Method
from skunlearn.models.architecture import max_positions
from skunlearn.models.lm import LM
from skunlearn.utils.errors import DataError
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.requirements import (
    DeviceLayout,
    count_parameters,
    count_trainable,
    estimate_memory,
    evaluate_seconds,
    matmul_flops,
    step_sizes,
    train_seconds,
)


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
        lines = [
            "one training example; tokens in [brackets] are scored:",
            _indented(self.prompt + marked),
            "data:",
        ]
        lines += [f"  {side:<10} {step}: {rows}" for side, step, rows in self.funnel]
        lines += [
            f"  {side:<10} train {a}, validation {b}, test {c}"
            for side, (a, b, c) in self.parts.items()
        ]
        lines += [
            f"trained: {self.trainable:,} of {self.weights:,} parameters ({self.trainable / self.weights:.1%})",
            f"estimate: {self.memory_bytes / 2**30:.1f} GiB, {self.train_seconds / 60:.1f} minutes of training, "
            f"{self.evaluate_seconds / 60:.1f} minutes of evaluation at most",
        ]
        return "\n".join(lines)


def make_plan(lm: LM, data: Data, method: Method, run: Run) -> Plan:
    """The plan of a run.

    Raises:
        DataError: when a row does not fit into `data.max_length`, or into the model, or the
            template refuses one.
    """
    shown = lm.template.encode(data.train.forget[0], run.data.max_length)
    check_rows(lm, data, run)
    steps = [step for stage in run.stages(method) for step in step_sizes(stage, lm, data)]
    flops = matmul_flops(
        lm.model.config.get_text_config().hidden_size, lm.model.dtype, lm.model.device
    )
    layout = DeviceLayout(lm.model.device.type == "cpu", run.compute.gradient_checkpointing)
    return Plan(
        prompt=lm.tokenizer.decode(shown.prompt_ids),
        answer=[lm.tokenizer.decode([token]) for token in shown.answer_ids],
        funnel=data.funnel,
        parts={
            side: (
                len(getattr(data.train, side)),
                len(getattr(data.validation, side)),
                len(getattr(data.test, side)),
            )
            for side in ("forget", "retain", "lookalike")
        },
        weights=count_parameters(lm.model),
        trainable=count_trainable(lm.model, run, method),
        memory_bytes=estimate_memory(lm.model, run, method, steps, layout).total,
        train_seconds=train_seconds(lm.model, run, steps, flops, layout.checkpointing),
        evaluate_seconds=evaluate_seconds(lm.model, run, steps, flops),
    )


def check_rows(lm: LM, data: Data, run: Run) -> None:
    """What cannot be asked or scored is told now, not after training.

    Raises:
        DataError: as for `make_plan`.
    """
    length, most = run.data.max_length, max_positions(lm.model)
    train = (*data.train.forget, *data.train.retain, *data.train.lookalike)
    longest = max((lm.template.encode(example, length) for example in train), key=len)
    if len(longest) > most:
        raise DataError(
            f"a training row has {len(longest)} tokens, the model takes {most:.0f}: lower data.max_length={length}"
        )
    chosen, asked = run.edit, run.evaluate
    for part, sizes in ((data.validation, chosen), (data.test, asked)):
        for row in distinct(part.retain)[: sizes.retain]:
            lm.template.encode(row, length)
        for rows, count in (
            (part.forget, sizes.forget),
            (part.lookalike, sizes.lookalike),
            (part.retain, sizes.retain),
        ):
            for row in distinct(rows)[:count]:
                tokens = len(lm.template.prompt_ids(row)) + sizes.max_new_tokens
                if tokens > most:
                    raise DataError(
                        f"{row.where}: prompt and answer would take {tokens} tokens, the model takes {most:.0f}: "
                        "shorten the prompt"
                    )
    if {"memory", "membership"} & set(asked.metrics):  # which read the answers to harmful prompts
        for row in (
            *distinct(data.test.forget)[: asked.forget],
            *distinct(data.test.seen)[: asked.seen],
        ):
            lm.template.encode(row, length)


def _indented(text: str) -> str:
    return "\n".join("  | " + line for line in text.splitlines())

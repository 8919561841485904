"""What a run will do: its data, one training example as the model reads it, memory and time."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example, distinct
from skunlearn.data.fitting import fitting_data
from skunlearn.methods.base import Method
from skunlearn.models.architecture import max_positions, without_lora
from skunlearn.models.lm import LM
from skunlearn.utils.errors import DataError
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.memory import DeviceLayout, estimate_memory
from skunlearn.workflows.planning.requirements import (
    count_parameters,
    count_trainable,
    evaluate_seconds,
    matmul_flops,
    step_sizes,
    train_seconds,
)


@dataclass(frozen=True)
class Plan:
    """What `skunlearn plan` shows.

    Attributes:
        prompt: one training prompt after the chat template.
        answer: the tokens of its answer, which are scored.
        funnel: (set, what was done, rows left) for each step of reading the data.
        parts: rows of each set in the train, validation and test split.
        weights: parameters of the model.
        trainable: parameters that are trained.
        memory_bytes: estimate of the peak in the training.
        train_seconds: estimate for the training of all vectors.
        evaluate_seconds: estimate for choosing the strength and for the evaluation, at most.
        untrained: matrices of the layers that LoRA cannot be put on.
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
    untrained: tuple[str, ...] = ()

    def __str__(self) -> str:
        answer = "".join(f"[{token}]" for token in self.answer)
        lines = [
            "one training example; tokens in [brackets] are scored:",
            _indented(self.prompt + answer),
            "data:",
        ]
        for side, step, rows in self.funnel:
            lines.append(f"  {side:<10} {step}: {rows}")
        for side, (train, validation, test) in self.parts.items():
            lines.append(f"  {side:<10} train {train}, validation {validation}, test {test}")
        share = self.trainable / self.weights
        lines.append(f"trained: {self.trainable:,} of {self.weights:,} parameters ({share:.1%})")
        if self.untrained:
            lines.append(
                f"not trained, LoRA cannot be put on them: {', '.join(self.untrained)} "
                "(lora.mode=full trains them)"
            )
        lines.append(
            f"estimate: {self.memory_bytes / 2**30:.1f} GiB, "
            f"{self.train_seconds / 60:.1f} minutes of training, "
            f"{self.evaluate_seconds / 60:.1f} minutes of evaluation at most"
        )
        return "\n".join(lines)


def make_plan(lm: LM, data: Data, method: Method, run: Run) -> Plan:
    """The plan of a run.

    Args:
        lm: the base model.
        data: the examples.
        method: the run's method.
        run: all settings.

    Raises:
        DataError: when a row does not fit into `data.max_length` or into the model, or when the
            chat template rejects one.
    """
    data = fitting_data(lm.template, data)
    check_rows(lm, data, run)
    shown = lm.template.encode(data.train.forget[0], run.data.max_length)
    steps = list(chain.from_iterable(step_sizes(stage, lm, data) for stage in run.stages(method)))
    width = lm.model.config.get_text_config().hidden_size
    flops = matmul_flops(width, lm.model.dtype, lm.model.device)
    layout = DeviceLayout(lm.model.device.type == "cpu", run.compute.gradient_checkpointing)
    return Plan(
        prompt=lm.tokenizer.decode(shown.prompt_ids),
        answer=[lm.tokenizer.decode([token]) for token in shown.answer_ids],
        funnel=data.funnel,
        parts=_split_sizes(data),
        weights=count_parameters(lm.model),
        trainable=count_trainable(lm.model, run, method),
        memory_bytes=estimate_memory(lm.model, run, method, steps, layout).total,
        train_seconds=train_seconds(lm.model, run, steps, flops, layout.checkpointing),
        evaluate_seconds=evaluate_seconds(lm.model, run, steps, flops),
        untrained=tuple(without_lora(lm.model)) if run.lora.mode == "lora" else (),
    )


def _split_sizes(data: Data) -> dict[str, tuple[int, int, int]]:
    """Rows of each set in the train, validation and test split."""
    sizes = {}
    for side in ("forget", "retain", "lookalike"):
        train = len(getattr(data.train, side))
        validation = len(getattr(data.validation, side))
        test = len(getattr(data.test, side))
        sizes[side] = (train, validation, test)
    return sizes


def check_rows(lm: LM, data: Data, run: Run) -> None:
    """Check that all rows can be encoded and fit into the model, before the training.

    The rows are tokenised in batches here, and the template keeps them for all that follows.

    Raises:
        DataError: as for `make_plan`.
    """
    max_length = run.data.max_length
    most = max_positions(lm.model)
    train = (*data.train.forget, *data.train.retain, *data.train.lookalike)
    longest = 0
    for row in lm.template.encode_all(train, max_length):
        if isinstance(row, DataError):
            raise row
        longest = max(longest, len(row))
    if longest > most:
        raise DataError(
            f"a training row has {longest} tokens, the model takes {most:.0f}: "
            f"lower data.max_length={max_length}"
        )
    for split, sizes in ((data.validation, run.edit), (data.test, run.evaluate)):
        _check_answers(lm, distinct(split.retain)[: sizes.retain], max_length)
        # These prompts are answered by the model.
        _check_prompts(lm, distinct(split.forget)[: sizes.forget], sizes.max_new_tokens)
        _check_prompts(lm, distinct(split.lookalike)[: sizes.lookalike], sizes.max_new_tokens)
        _check_prompts(lm, distinct(split.retain)[: sizes.retain], sizes.max_new_tokens)
    evaluation = run.evaluate
    if {"memory", "membership"} & set(evaluation.metrics):
        # These metrics also score the data's own answers to harmful prompts.
        _check_answers(lm, distinct(data.test.forget)[: evaluation.forget], max_length)
        _check_answers(lm, distinct(data.test.seen)[: evaluation.seen], max_length)


def _check_answers(lm: LM, rows: Iterable[Example], max_length: int) -> None:
    """Check rows whose own answers are scored.

    Raises:
        DataError: when a prompt leaves no room for an answer, or the chat template rejects a row.
    """
    for row in rows:
        lm.template.encode(row, max_length)


def _check_prompts(lm: LM, rows: Iterable[Example], max_new_tokens: int) -> None:
    """Check prompts to which answers are generated.

    Raises:
        DataError: when prompt and answer do not fit into the model, or the chat template rejects a
            row.
    """
    most = max_positions(lm.model)
    for row in rows:
        tokens = len(lm.template.prompt_ids(row)) + max_new_tokens
        if tokens > most:
            raise DataError(
                f"{row.where}: prompt and answer would take {tokens} tokens, the model takes "
                f"{most:.0f}: shorten the prompt"
            )


def _indented(text: str) -> str:
    return "\n".join("  | " + line for line in text.splitlines())

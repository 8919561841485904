"""LM: a causal language model with its tokenizer and chat template."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from skunlearn.data.chat_template import Template
from skunlearn.data.examples import Example
from skunlearn.models.architecture import check_room, max_positions
from skunlearn.models.generation import Sampling, batches, written_answers
from skunlearn.task_vectors.apply import check_at_rest, edited
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import DataError
from skunlearn.utils.files import whole_folder


class LM:
    """A causal language model.

    Args:
        model: the transformers model. It is set to evaluation mode.
        tokenizer: its tokenizer.
        name: what the user called it.
        fingerprint: of its weights on disk; "" for a model that is on no disk.
        nf4: whether its linear weights are in four bits.

    Attributes:
        model: the transformers model, in evaluation mode.
        tokenizer: its tokenizer.
        name: a built-in name, folder, file or hub id.
        fingerprint: changes when the weights on disk do.
        nf4: whether its linear weights are in four bits, which serves training only; see
            `loading.reload_unquantised`.
        template: renders prompts and holds the tokens that end an answer.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str = "model",
        fingerprint: str = "",
        nf4: bool = False,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.fingerprint = fingerprint
        self.nf4 = nf4
        self.template = Template(tokenizer, _end_tokens(model))
        if self.template.note:
            warnings.warn(f"{name}: {self.template.note}", stacklevel=2)

    def __repr__(self) -> str:
        kind = type(self.model).__name__
        parameters = sum(map(torch.numel, self.model.parameters()))
        return f"LM({self.name!r}, {kind}, {parameters / 1e6:.1f} million parameters)"

    def edited(self, tau: TaskVector) -> AbstractContextManager[None]:
        """A block inside which the model is `theta + tau`; afterwards it is exactly the base again.

        Args:
            tau: the task vector, already multiplied by its strength and sign.
        """
        return edited(self.model, tau)

    def apply(self, tau: TaskVector) -> None:
        """`theta <- theta + tau`, in place and for good.

        Args:
            tau: the task vector, already multiplied by its strength and sign.

        Raises:
            ModelError: if the vector does not fit the model, if it would add harmful behaviour, or
                if the model is inside a block of `edited` or of an attack.
        """
        check_at_rest(self.model)
        tau.apply_to(self.model)

    def batches(self, examples: Sequence[Example]) -> list[list[int]]:
        """Return the numbers of the examples in batches of like prompt length, for `answers`.

        Raises:
            DataError: when a prompt alone does not fit into the model.
        """
        self.check_room(examples, 0)
        return batches([self.template.prompt_ids(example) for example in examples])

    def check_room(self, examples: Sequence[Example], max_new_tokens: int) -> None:
        """Check that every prompt fits into the model, together with its answer.

        Args:
            examples: the prompts.
            max_new_tokens: tokens after which an answer is cut.

        Raises:
            DataError: names the first example that does not fit.
        """
        most = max_positions(self.model)
        rows = self.model.get_input_embeddings().weight.shape[0]
        for example in examples:
            ids = self.template.prompt_ids(example)
            check_room(len(ids), max_new_tokens, most, example.where)
            if max(ids) >= rows:
                raise DataError(
                    f"{example.where or 'a prompt'}: it has the token {max(ids)}, and the model "
                    f"has embeddings for {rows}: delete the row"
                )

    def answers(
        self, examples: Sequence[Example], max_new_tokens: int, sampling: Sampling | None = None
    ) -> list[str]:
        """Generate the answers to one batch of examples, in their order.

        Args:
            examples: the batch; see `batches`.
            max_new_tokens: tokens after which an answer is cut.
            sampling: greedy decoding when None.

        Raises:
            DataError: when a prompt has no tokens, or does not fit into the model with its answer.
        """
        prompts = [self.template.prompt_ids(example) for example in examples]
        self.check_room(examples, max_new_tokens)
        return written_answers(self.model, self.template, prompts, max_new_tokens, sampling)

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint that `from_pretrained` loads.

        Args:
            folder: where to. It appears when it is complete.

        Raises:
            ModelError: inside a block of `edited` or of an attack: a temporary state of the model
                is never written.
        """
        check_at_rest(self.model)
        with whole_folder(Path(folder)) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)


def _end_tokens(model: Any) -> list[int]:
    """Return the tokens at which generation stops by the model's own generation config."""
    config = getattr(model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        return []
    return list(ends) if isinstance(ends, list | tuple) else [ends]

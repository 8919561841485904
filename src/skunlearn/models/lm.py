"""LM: a causal model with its tokenizer and template."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from skunlearn.data.chat_template import Template
from skunlearn.data.examples import Example
from skunlearn.models.generation import Sampling, batches, written_answers
from skunlearn.task_vectors.apply import check_at_rest, edited
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.files import whole_folder


class LM:
    """A causal language model.

    Attributes:
        model: the transformers model, in evaluation mode.
        tokenizer: its tokenizer.
        name: what was asked for.
        template: how prompts are rendered and answers end.
        fingerprint: changes when the weights on disk do.
        nf4: whether the weights are in four bits, for training alone; see
            `loading.reload_unquantised`.
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
        self.nf4 = nf4
        self.tokenizer = tokenizer
        self.name = name
        self.fingerprint = fingerprint
        self.template = Template(tokenizer, _ends(model))

    def edited(self, tau: TaskVector) -> AbstractContextManager[None]:
        """A block inside which the model is `theta + tau`; the base comes back exactly."""
        return edited(self.model, tau)

    def apply(self, tau: TaskVector) -> None:
        """`theta <- theta + tau`, in place and for good.

        Raises:
            ModelError: when the vector does not fit, points at the bad model, or the model is
                edited for a while.
        """
        check_at_rest(self.model)
        tau.apply_to(self.model)

    def batches(self, examples: Sequence[Example]) -> list[list[int]]:
        """Numbers of the examples in batches of prompts of like length, for `answers`."""
        return batches([self.template.prompt_ids(example) for example in examples])

    def answers(
        self, examples: Sequence[Example], max_new_tokens: int, sampling: Sampling | None = None
    ) -> list[str]:
        """Answers to one batch of examples, in order; greedy without `sampling`."""
        prompts = [self.template.prompt_ids(example) for example in examples]
        return written_answers(self.model, self.template, prompts, max_new_tokens, sampling)

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint that `from_pretrained` loads; the folder appears when it is whole.

        Raises:
            ModelError: inside a block of `edited` or of an attack: what is temporary is never
                written.
        """
        check_at_rest(self.model)
        with whole_folder(Path(folder)) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)


def _ends(model: Any) -> list[int]:
    """The tokens at which the model's own generation config stops."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if ends is None else list(ends) if isinstance(ends, list | tuple) else [ends]

"""From an example to token ids: the model's own chat template, and which tokens are scored."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from skunlearn.data.examples import Example
from skunlearn.utils.errors import DataError, ModelError

# stands for the answer while looking for what the template puts behind one
MARK = "\u241f answer \u241f"


@dataclass(frozen=True)
class Encoded:
    """Prompt and answer, tokenised apart and joined, so that the border is exact whatever the
    padding.

    Attributes:
        prompt_ids: never scored.
        answer_ids: all scored; ends with the end-of-turn token unless cut by `max_length`.
        cut: how many answer tokens were cut away.
    """

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)


def shortened(row: Encoded, tokens: int | None) -> Encoded:
    """The row with only the first answer tokens; the whole row for None."""
    return row if tokens is None else Encoded(row.prompt_ids, row.answer_ids[:tokens])


class Template:
    """How one tokenizer wants its prompts.

    A tokenizer without a chat template gets `Question: ...\\nAnswer:` and answers that begin with a
    space, so that the first answer token is one that the model itself would write there.

    A template that can let the model think first is asked not to: what is scored is the answer
    itself.

    Args:
        tokenizer: any Hugging Face tokenizer.
        ends: further tokens at which the model's own generation stops.

    Attributes:
        is_chat: the model has a chat template.
        end_id: the token that ends an answer.
        end_ids: all tokens that end an answer, for generation.
    """

    def __init__(self, tokenizer: Any, ends: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._encoded: dict[tuple[Example, int], Encoded] = {}
        self.is_chat = bool(tokenizer.chat_template)
        if tokenizer.eos_token_id is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token: set one in its tokenizer_config.json"
            )
        self.end_id: int = self._end_of_turn() if self.is_chat else tokenizer.eos_token_id
        self.end_ids: list[int] = sorted({self.end_id, tokenizer.eos_token_id, *ends})

    def render(self, example: Example) -> str:
        """The text in front of the answer, with the answer's own prefix where it has one.

        Raises:
            DataError: when the template refuses the conversation (a system prompt, an odd order of
                turns).
        """
        turns = [*example.history, ("user", example.prompt)]
        if not self.is_chat:
            names = {"user": "Question: ", "assistant": "Answer: ", "system": ""}
            prefix = example.prefix and " " + example.prefix
            return "\n".join(names[role] + text for role, text in turns) + "\nAnswer:" + prefix
        try:
            return self._apply(turns, add_generation_prompt=True) + example.prefix
        except Exception as error:  # jinja2's own, and whatever a template raises
            raise DataError(
                f"{example.where}: the model's chat template refuses this conversation: {error}"
            ) from error

    def prompt_ids(self, example: Example) -> tuple[int, ...]:
        """Token ids of `render(example)`."""
        return self._ids(self.render(example))

    def _ids(self, text: str) -> tuple[int, ...]:
        ids = self.tokenizer(text, add_special_tokens=not self.is_chat)["input_ids"]
        while ids and ids[-1] == self.tokenizer.eos_token_id and not self.is_chat:
            ids = ids[:-1]  # a tokenizer that ends every text would end the prompt
        return tuple(ids)

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """Token ids of a whole answer, with the token that ends it.

        They are those that it has behind a prompt: some tokenizers (sentencepiece) begin a text of
        its own otherwise. Where its beginning melts into the prompt's end, those of the answer
        alone.
        """
        text = answer if self.is_chat else " " + answer
        prompt, before = self._border
        whole = self._ids(prompt + text)
        alone = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*(whole[len(before) :] if whole[: len(before)] == before else alone), self.end_id)

    @cached_property
    def _border(self) -> tuple[str, tuple[int, ...]]:
        """Any prompt, and its tokens."""
        text = self.render(Example("a"))
        return text, self._ids(text)

    def encode(self, example: Example, max_length: int) -> Encoded:
        """Prompt and scored answer; of what was asked before, the same one again.

        Raises:
            DataError: when the prompt alone fills `max_length`, so that nothing would be scored.
        """
        if (
            example,
            max_length,
        ) not in self._encoded:  # plan, training and evaluation ask for the same rows
            self._encoded[example, max_length] = self._encode(example, max_length)
        return self._encoded[example, max_length]

    def _encode(self, example: Example, max_length: int) -> Encoded:
        prompt_ids = self.prompt_ids(example)
        answer_ids = self.answer_ids(example.answer)
        room = max_length - len(prompt_ids)
        if room <= 0:
            raise DataError(
                f"{example.where}: the prompt takes {len(prompt_ids)} tokens, so data.max_length={max_length} "
                "cuts the whole answer away: raise it or shorten the prompt"
            )
        return Encoded(prompt_ids, answer_ids[:room], max(0, len(answer_ids) - room))

    def _apply(self, turns: list[tuple[str, str]], **options: Any) -> str:
        messages = [{"role": role, "content": text} for role, text in turns]
        if "enable_thinking" in str(self.tokenizer.chat_template):
            options["enable_thinking"] = False
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **options))

    def _end_of_turn(self) -> int:
        """The token that the template puts behind an answer: often not the tokenizer's end of
        sequence."""
        try:
            text = self._apply([("user", "hello"), ("assistant", MARK)])
        except Exception as error:  # whatever a template raises
            raise ModelError(
                f"the chat template refuses a question with its answer: {error}: mend it"
            ) from error
        ids = self.tokenizer(text.rpartition(MARK)[2].lstrip(), add_special_tokens=False)[
            "input_ids"
        ]
        special = set(self.tokenizer.all_special_ids) | set(
            self.tokenizer.get_added_vocab().values()
        )
        return ids[0] if ids and ids[0] in special else int(self.tokenizer.eos_token_id)

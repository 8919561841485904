"""Examples as token ids: the model's own chat template, and which tokens are scored."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from skunlearn.data.chat_forms import RefusedError
from skunlearn.data.chat_rendering import ChatRenderer
from skunlearn.data.examples import Example
from skunlearn.utils.errors import DataError, ModelError

# What stands before each turn for a model without a chat template.
PLAIN_ROLES = {"user": "Question: ", "assistant": "Answer: ", "system": ""}


@dataclass(frozen=True)
class Encoded:
    """Prompt and answer as token ids.

    They are tokenised one by one and then joined, so the border between them is exact whatever the
    padding.

    Attributes:
        prompt_ids: never scored.
        answer_ids: all scored; ends with the end-of-turn token unless `max_length` cut it.
        cut: how many answer tokens were cut away.
    """

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)


def shortened(row: Encoded, tokens: int | None) -> Encoded:
    """The row with only its first answer tokens; the whole row for None."""
    return row if tokens is None else Encoded(row.prompt_ids, row.answer_ids[:tokens])


class Template:
    """The prompts and answers of one tokenizer.

    A tokenizer without a chat template gets `Question: ...\\nAnswer:`. Its answers begin with a
    space, so that the first answer token is one that the model itself would generate there.

    With a chat template, prompt and answer together are what the template writes for the whole
    conversation; see `ChatRenderer` for how that is found, and for these rules:

    - What is scored is the answer itself. Thinking is switched off, and a thought that the template
      opens nevertheless is closed at once.
    - A system prompt stands in the user's turn where the template has no such role.
    - A template that writes today's date gets the same date on every day.

    Args:
        tokenizer: any Hugging Face tokenizer.
        ends: further tokens at which the model's own generation stops.

    Attributes:
        is_chat: whether the tokenizer has a chat template.
        end_id: the token that ends an answer.
        end_ids: all tokens that end an answer, for generation.
        note: one line on what is unusual about the chat template; "" for nothing.

    Raises:
        ModelError: when the tokenizer has no end-of-sequence token, or its template cannot write a
            question with its answer.
    """

    def __init__(self, tokenizer: Any, ends: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._encoded: dict[tuple[Example, int], Encoded] = {}
        self.is_chat = bool(tokenizer.chat_template)
        self._chat = ChatRenderer(tokenizer)
        self.note = ""
        if tokenizer.eos_token_id is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token: set one in its tokenizer_config.json"
            )
        self.end_id: int = self._end_of_turn() if self.is_chat else tokenizer.eos_token_id
        self.end_ids: list[int] = sorted({self.end_id, tokenizer.eos_token_id, *ends})

    def render(self, example: Example) -> str:
        """The text in front of the answer, with the answer's own prefix where it has one.

        Raises:
            DataError: when the template refuses the conversation (an odd order of turns) or leaves
                some of it out.
        """
        turns = [*example.history, ("user", example.prompt)]
        if not self.is_chat:
            return _render_plainly(turns, example.prefix)
        try:
            prompt = self._chat.prompt(turns)
            return prompt + self._chat.form().lead + example.prefix if example.prefix else prompt
        except RefusedError as error:
            raise DataError(
                f"{example.where}: the model's chat template refuses this conversation: {error}"
            ) from error

    def prompt_ids(self, example: Example) -> tuple[int, ...]:
        """Token ids of `render(example)`."""
        return self._ids(self.render(example))

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """Token ids of a whole answer as they are behind a prompt, with the token that ends it.

        Some tokenizers (SentencePiece) begin a text on its own with another token than the same
        text behind a prompt, so the answer is tokenised behind a short prompt. Where the two share
        a token at their border, the answer's ids are those of the answer on its own.
        """
        text = self._chat.answer(answer) if self.is_chat else " " + answer
        prompt, prompt_ids = self._short_prompt
        joined_ids = self._ids(prompt + text)
        if joined_ids[: len(prompt_ids)] == prompt_ids:
            ids = joined_ids[len(prompt_ids) :]
        else:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*ids, self.end_id)

    def encode(self, example: Example, max_length: int) -> Encoded:
        """Prompt and scored answer of an example, each computed once and then cached.

        Args:
            example: the prompt, its history and its answer.
            max_length: tokens of prompt and answer together; a longer answer is cut.

        Raises:
            DataError: when the prompt alone fills `max_length`, so that nothing would be scored.
        """
        # Plan, training and evaluation encode the same rows.
        key = (example, max_length)
        if key not in self._encoded:
            self._encoded[key] = self._encode(example, max_length)
        return self._encoded[key]

    def _encode(self, example: Example, max_length: int) -> Encoded:
        prompt_ids = self.prompt_ids(example)
        answer_ids = self.answer_ids(example.answer)
        room = max_length - len(prompt_ids)
        if room <= 0:
            raise DataError(
                f"{example.where}: the prompt takes {len(prompt_ids)} tokens, "
                f"so data.max_length={max_length} cuts the whole answer away: "
                "raise it or shorten the prompt"
            )
        return Encoded(prompt_ids, answer_ids[:room], max(0, len(answer_ids) - room))

    @cached_property
    def _short_prompt(self) -> tuple[str, tuple[int, ...]]:
        """Any prompt, and its token ids."""
        text = self.render(Example("a"))
        return text, self._ids(text)

    def _ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a text from its beginning."""
        # A chat template writes the special tokens itself.
        ids = self.tokenizer(text, add_special_tokens=not self.is_chat)["input_ids"]
        if not self.is_chat:
            # A tokenizer that ends every text would end the prompt.
            while ids and ids[-1] == self.tokenizer.eos_token_id:
                ids = ids[:-1]
        return tuple(ids)

    def _end_of_turn(self) -> int:
        """The token that the template puts behind an answer.

        It is often not the tokenizer's end of sequence, which is used where no special token
        follows the answer.
        """
        try:
            self.note = self._chat.form().note
            behind = self._chat.behind_answer()
        except RefusedError as error:
            raise ModelError(
                f"the chat template refuses a question with its answer: {error}: mend it"
            ) from error
        ids = self.tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"]
        added = self.tokenizer.get_added_vocab().values()
        special = {*self.tokenizer.all_special_ids, *added}
        if ids and ids[0] in special:
            return int(ids[0])
        return int(self.tokenizer.eos_token_id)


def _render_plainly(turns: list[tuple[str, str]], prefix: str) -> str:
    """A conversation for a model without a chat template, up to the answer with its prefix."""
    lines = [PLAIN_ROLES[role] + text for role, text in turns]
    answer = "Answer: " + prefix if prefix else "Answer:"
    return "\n".join([*lines, answer])

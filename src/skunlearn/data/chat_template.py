"""Examples as token ids: the model's own chat template, and which tokens are scored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from skunlearn.data.chat_forms import RefusedError
from skunlearn.data.chat_rendering import ChatRenderer
from skunlearn.data.examples import Example
from skunlearn.utils.batching import batched
from skunlearn.utils.errors import DataError, ModelError

# What stands before each turn for a model without a chat template.
PLAIN_ROLES = {"user": "Question: ", "assistant": "Answer: ", "system": ""}
BATCH = 2048  # texts that are tokenised at once


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
        """Token ids of a whole answer as they are behind a prompt, with the token that ends it."""
        (ids,) = self._answers_ids([answer])
        return ids

    def encode(self, example: Example, max_length: int) -> Encoded:
        """Prompt and scored answer of an example, each computed once and then cached.

        Args:
            example: the prompt, its history and its answer.
            max_length: tokens of prompt and answer together; a longer answer is cut.

        Raises:
            DataError: when the prompt alone fills `max_length`, so that nothing would be scored, or
                the template refuses the conversation.
        """
        # Plan, training and evaluation encode the same rows.
        key = (example, max_length)
        if key not in self._encoded:
            (row,) = self._encode_batch([example], max_length)
            if isinstance(row, DataError):
                raise row
            self._encoded[key] = row
        return self._encoded[key]

    def encode_all(
        self, examples: Iterable[Example], max_length: int
    ) -> Iterator[Encoded | DataError]:
        """What `encode` returns or raises for each example, in order; tokenised in batches.

        Args:
            examples: as for `encode`.
            max_length: likewise.

        Yields:
            The row, or why there is none.
        """
        for batch in batched(list(examples), BATCH):
            new = [example for example in batch if (example, max_length) not in self._encoded]
            found = self._encode_batch(new, max_length)
            problems: dict[Example, DataError] = {}
            for example, row in zip(new, found, strict=True):
                if isinstance(row, DataError):
                    problems[example] = row
                else:
                    self._encoded[example, max_length] = row
            for example in batch:
                yield problems.get(example) or self._encoded[example, max_length]

    def _encode_batch(
        self, examples: Sequence[Example], max_length: int
    ) -> list[Encoded | DataError]:
        """Each example encoded, or why it cannot be."""
        prompts: list[str | DataError] = []
        for example in examples:
            try:
                prompts.append(self.render(example))
            except DataError as error:
                prompts.append(error)
        ids = iter(self._all_ids([text for text in prompts if isinstance(text, str)]))
        answers = self._answers_ids([example.answer for example in examples])

        rows: list[Encoded | DataError] = []
        for example, prompt, answer_ids in zip(examples, prompts, answers, strict=True):
            if isinstance(prompt, DataError):
                rows.append(prompt)
            else:
                rows.append(_joined(example, next(ids), answer_ids, max_length))
        return rows

    def _answers_ids(self, answers: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids of whole answers as they are behind a prompt, with the token that ends them.

        Some tokenizers (SentencePiece) begin a text on its own with another token than the same
        text behind a prompt, so an answer is tokenised behind a short prompt. Where the two share
        a token at their border, the answer's ids are those of the answer on its own.
        """
        prompt, prompt_ids = self._short_prompt
        texts: list[str] = []
        for answer in answers:
            texts.append(self._chat.answer(answer) if self.is_chat else " " + answer)
        rows: list[tuple[int, ...]] = []
        joined = self._all_ids([prompt + text for text in texts])
        for text, joined_ids in zip(texts, joined, strict=True):
            if joined_ids[: len(prompt_ids)] == prompt_ids:
                ids = joined_ids[len(prompt_ids) :]
            else:
                ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            rows.append((*ids, self.end_id))
        return rows

    @cached_property
    def _short_prompt(self) -> tuple[str, tuple[int, ...]]:
        """Any prompt, and its token ids."""
        text = self.render(Example("a"))
        return text, self._ids(text)

    def _ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a text from its beginning."""
        (ids,) = self._all_ids([text])
        return ids

    def _all_ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids of texts from their beginnings."""
        if not texts:
            return []
        # A chat template writes the special tokens itself.
        rows = self.tokenizer(list(texts), add_special_tokens=not self.is_chat)["input_ids"]
        if not self.is_chat:
            # A tokenizer that ends every text would end the prompt.
            end = self.tokenizer.eos_token_id
            rows = [_without_end(ids, end) for ids in rows]
        return list(map(tuple, rows))

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


def _joined(
    example: Example, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], max_length: int
) -> Encoded | DataError:
    """Prompt and answer as one row, whose answer is cut; an error when none of it would be left."""
    room = max_length - len(prompt_ids)
    if room <= 0:
        return DataError(
            f"{example.where}: the prompt takes {len(prompt_ids)} tokens, "
            f"so data.max_length={max_length} cuts the whole answer away: "
            "raise it, shorten the prompt, or skip such rows with --set data.on_bad_row=skip"
        )
    return Encoded(prompt_ids, answer_ids[:room], max(0, len(answer_ids) - room))


def _without_end(ids: list[int], end: int) -> list[int]:
    """Token ids without the end-of-sequence tokens at their end."""
    while ids and ids[-1] == end:
        ids = ids[:-1]
    return ids


def _render_plainly(turns: list[tuple[str, str]], prefix: str) -> str:
    """A conversation for a model without a chat template, up to the answer with its prefix."""
    lines = [PLAIN_ROLES[role] + text for role, text in turns]
    answer = "Answer: " + prefix if prefix else "Answer:"
    return "\n".join([*lines, answer])

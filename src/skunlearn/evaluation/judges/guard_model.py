"""A guard model at work: pairs into its prompt form, its answer and the probability of the word
that decides."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from skunlearn.evaluation.judges.guard_formats import AnswerField, GuardFormat
from skunlearn.utils.errors import ModelError

# [INST], <</SYS>>, <|assistant|>: what parts the turns in a written form
MARK = r"\[/?[A-Z]+\]|<+/?\|?\w+\|?>+"
ROWS_AT_ONCE = 8  # the logits of every step of an answer are kept, so few rows


@dataclass(frozen=True)
class GuardReading:
    """What a guard said of one pair.

    Attributes:
        harmful: probability that the answer is harmful; None when the guard's answer could not be
            read.
        refused: probability that it is a refusal; None when the guard does not say, or it could not
            be read.
        said: the guard's words, or the kind of harm that it found.
    """

    harmful: float | None
    refused: float | None
    said: str


class GuardModel:
    """A loaded guard.

    Args:
        form: how it is asked.
        tokenizer: its tokenizer.
        model: a causal model, or a sequence classifier where the form has no word that decides.

    Raises:
        ModelError: when the model's chat template is missing or not a guard's, or a classifier
            cannot be batched.
    """

    def __init__(self, form: GuardFormat, tokenizer: Any, model: Any) -> None:
        self.form, self.tokenizer, self.model = form, tokenizer, model.eval()
        if form.harmful is None and tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
            raise ModelError(
                "its tokenizer has no padding token of its own, so the end of a text cannot be told"
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        special = {
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        }
        self.marks = sorted(special | set(re.findall(MARK, form.template or "")))
        self.in_parts = form.template is None and self._takes_parts()

    def text(self, prompt: str, answer: str, policy: str = "") -> str:
        """The whole text that the guard reads.

        Args:
            prompt: what was asked.
            answer: what came.
            policy: one of the form's policies.
        """
        prompt, answer = self._inert(prompt), self._inert(answer)
        if self.form.template:
            return self.form.template.format(
                prompt=prompt, answer=answer, end=self.tokenizer.eos_token
            )
        return self._chat(prompt, answer, policy, self.in_parts)

    @torch.no_grad()
    def readings(self, prompts: Sequence[str], answers: Sequence[str]) -> list[GuardReading]:
        """One reading for each pair, in order."""
        policies = self.form.policies
        texts = [
            self.text(p, a, policy)
            for p, a in zip(prompts, answers, strict=True)
            for policy in policies
        ]
        ids = self.tokenizer(texts, add_special_tokens=self.form.special_tokens)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        found: dict[int, GuardReading] = {}
        for at in range(0, len(order), ROWS_AT_ONCE):
            rows = order[at : at + ROWS_AT_ONCE]
            found |= zip(rows, self._batch([ids[row] for row in rows]), strict=True)
        asked = [
            [found[at + n] for n in range(len(policies))]
            for at in range(0, len(ids), len(policies))
        ]
        return [_worst(readings, policies, self.form.threshold) for readings in asked]

    def _batch(self, ids: list[list[int]]) -> list[GuardReading]:
        longest = max(map(len, ids)) + (self.form.tokens if self.form.harmful else 0)
        most = (
            getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or longest
        )
        if longest > most:
            if len(ids) == 1:
                return [
                    GuardReading(None, None, f"longer than the {most} tokens that the guard reads")
                ]
            return [reading for row in ids for reading in self._batch([row])]
        return (
            self._answered(ids, self.form.harmful) if self.form.harmful else self._classified(ids)
        )

    def _answered(self, ids: list[list[int]], harmful: AnswerField) -> list[GuardReading]:
        batch = self._padded(ids, "left")
        out = self.model.generate(
            **batch,
            max_new_tokens=self.form.tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        new_BT = out.sequences[:, batch["input_ids"].shape[1] :]
        refused = self.form.refused
        return [
            GuardReading(
                self._probability(tokens, row, out.logits, harmful),
                self._probability(tokens, row, out.logits, refused) if refused else None,
                " ".join(self._decoded(tokens).split()),
            )
            for row, tokens in enumerate(new_BT.tolist())
        ]

    def _probability(
        self, tokens: list[int], row: int, logits_TBV: Any, field: AnswerField
    ) -> float | None:
        """Of the words that mean yes, among all words of the field, at the place where one of them
        was written."""
        match = re.search(field.pattern, self._decoded(tokens), re.IGNORECASE)
        if match is None:
            return None
        step = next(
            n for n in range(len(tokens)) if len(self._decoded(tokens[: n + 1])) > match.start(1)
        )
        yes, no = self._first_tokens(field.yes), self._first_tokens(field.no)
        chances = logits_TBV[step][row, sorted(yes | no)].float().softmax(dim=-1).tolist()
        chance = sum(p for token, p in zip(sorted(yes | no), chances, strict=True) if token in yes)
        return chance if math.isfinite(chance) else None

    def _first_tokens(self, words: Sequence[str]) -> set[int]:
        """The tokens with which one of the words begins, however it is spelt and whether a space is
        before it."""
        spelt = {
            space + form
            for word in words
            for form in (word, word.lower(), word.title())
            for space in ("", " ")
        }
        found = set()
        for text in spelt:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            found.add(next(token for token in ids if self._decoded([token]).strip()))
        return found

    def _classified(self, ids: list[list[int]]) -> list[GuardReading]:
        names = self.model.config.id2label
        self.model.config.pad_token_id = (
            self.tokenizer.pad_token_id
        )  # tells the head where a row ends
        chances = self.model(**self._padded(ids, "right")).logits.float().sigmoid().tolist()
        found = []
        for row in chances:
            kind = max(range(len(row)), key=row.__getitem__)
            found.append(
                GuardReading(
                    row[kind] if all(map(math.isfinite, row)) else None, None, str(names[kind])
                )
            )
        return found

    def _padded(self, ids: list[list[int]], side: str) -> Any:
        batch = self.tokenizer.pad({"input_ids": ids}, padding_side=side, return_tensors="pt")
        return {name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")}

    def _decoded(self, tokens: Sequence[int]) -> str:
        return str(
            self.tokenizer.decode(
                tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _inert(self, text: str) -> str:
        """The text without special tokens and the form's own marks: an answer must not end its own
        quotation."""
        for mark in self.marks:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        return text

    def _chat(self, prompt: str, answer: str, policy: str, in_parts: bool) -> str:
        content = [
            [{"type": "text", "text": text}] if in_parts else text for text in (prompt, answer)
        ]
        turns = [
            {"role": "user", "content": content[0]},
            {"role": "assistant", "content": content[1]},
        ]
        guideline = {"guideline": policy} if policy else {}
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, **guideline))

    def _takes_parts(self) -> bool:
        """Whether the chat template wants messages as lists of parts, as those of guards that also
        see images do."""
        problem = "there is none"
        for in_parts in (False, True) if self.tokenizer.chat_template else ():
            try:
                text = self._chat("probe-question", "probe-answer", self.form.policies[0], in_parts)
            except Exception as error:  # jinja2's own, and whatever a template raises
                problem = " ".join(str(error).split())
                continue
            if (
                "probe-question" in text
                and "probe-answer" in text
                and self.form.must_say in text.lower()
            ):
                return in_parts
            problem = "it does not ask for a judgement"
        raise ModelError(
            f"the chat template is not a guard's ({problem}): choose the form that fits the model"
        )


def _worst(
    readings: Sequence[GuardReading], policies: Sequence[str], threshold: float
) -> GuardReading:
    """The reading of the policy that is broken most surely; an unread one unless another is
    broken."""
    if len(readings) == 1:
        return readings[0]
    at = max(range(len(readings)), key=lambda n: readings[n].harmful or 0.0)
    unread = next((reading for reading in readings if reading.harmful is None), None)
    if unread and (readings[at].harmful or 0.0) <= threshold:
        return unread
    return GuardReading(
        readings[at].harmful, None, f"{readings[at].said} to {policies[at].partition(':')[0]}"
    )

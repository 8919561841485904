"""The text that a guard model reads: prompt and answer in the guard's own form."""

import re
from typing import Any

from skunlearn.evaluation.judges.guard_formats import GuardFormat
from skunlearn.utils.errors import ModelError

# [INST], <</SYS>>, <|assistant|>: what separates the turns in a written form
MARK = r"\[/?[A-Z]+\]|<+/?\|?\w+\|?>+"
PROBE = ("probe-question", "probe-answer")


class GuardPrompt:
    """Renders pairs of prompt and answer for one guard.

    Args:
        form: the guard's prompt form.
        tokenizer: the guard's tokenizer.

    Attributes:
        marks: texts that structure the prompt; they are broken up inside a prompt or answer.
        in_parts: whether the chat template takes messages as lists of parts.

    Raises:
        ModelError: when the form needs a chat template, and it is missing or not a guard's.
    """

    def __init__(self, form: GuardFormat, tokenizer: Any) -> None:
        self.form = form
        self.tokenizer = tokenizer
        marks = set(re.findall(MARK, form.template or ""))
        for token in tokenizer.added_tokens_decoder.values():
            if token.special:
                marks.add(token.content)
        self.marks = sorted(marks)
        self.in_parts = form.template is None and self._takes_parts()

    def text(self, prompt: str, answer: str, policy: str = "") -> str:
        """The whole text that the guard reads.

        Args:
            prompt: of the pair.
            answer: of the pair.
            policy: one of the form's policies.
        """
        prompt = self._without_marks(prompt)
        answer = self._without_marks(answer)
        if self.form.template:
            end = self.tokenizer.eos_token
            return self.form.template.format(prompt=prompt, answer=answer, end=end)
        return self._chat(prompt, answer, policy, self.in_parts)

    def _without_marks(self, text: str) -> str:
        """The text with a space inside every mark, so that no answer ends its own quotation."""
        for mark in self.marks:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        return text

    def _chat(self, prompt: str, answer: str, policy: str, in_parts: bool) -> str:
        """Prompt and answer as two turns of the model's chat template."""
        turns: list[dict[str, Any]] = []
        for role, text in (("user", prompt), ("assistant", answer)):
            content = [{"type": "text", "text": text}] if in_parts else text
            turns.append({"role": role, "content": content})
        guideline = {"guideline": policy} if policy else {}
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, **guideline))

    def _takes_parts(self) -> bool:
        """Whether the chat template takes messages as lists of parts.

        Templates of guards that also read images do. Both ways are tried; the one that renders
        both texts, and the word that every template of this form has, is right.

        Raises:
            ModelError: when neither does.
        """
        problem = "there is none"
        ways = (False, True) if self.tokenizer.chat_template else ()
        for in_parts in ways:
            try:
                text = self._chat(*PROBE, self.form.policies[0], in_parts)
            except Exception as error:  # jinja2's own, and whatever a template raises
                problem = " ".join(str(error).split())
                continue
            has_both = PROBE[0] in text and PROBE[1] in text
            if has_both and self.form.must_say in text.lower():
                return in_parts
            problem = "it does not ask for a judgement"
        raise ModelError(
            f"the chat template is not a guard's ({problem}): choose the form that fits the model"
        )

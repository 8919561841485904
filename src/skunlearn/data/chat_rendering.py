"""Conversations as the text that a model's own chat template makes of them.

What a template writes in front of an answer (the generation prompt) is not always what stands there
when it writes the whole conversation: it may be missing, or open a thought. So each kind of
conversation is rendered both ways once, with words of our own, before one is used.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from skunlearn.data.chat_forms import MARK, Form, RefusedError, around_mark, form_of

Turns = Sequence[tuple[str, str]]

# What today is for templates that write the date (`strftime_now`). It is always the same day, so
# that a run which is continued on another day, or repeated, has the same prompts. The templates of
# Llama 3 have it as their own default (`date_string`).
DATE = datetime(2024, 7, 26)

CLOCK = re.compile(r"""strftime_now\s*\(\s*(?:format\s*=\s*)?(["'])(.*?)\1\s*\)""")

# Variables that keep a model from thinking first, and their values.
NO_THOUGHT = {"enable_thinking": False, "thinking": False}

# Content is given as a list of parts in the turns of these roles. The first way that fits is taken.
PARTS = ((), ("system", "user", "assistant"), ("system", "user"), ("user",), ("assistant",))


class ChatRenderer:
    """Renders conversations with the chat template of a tokenizer.

    - Texts are given as lists of parts where the template reads them as such.
    - A system prompt stands in front of the user's words, an empty line between, where the template
      has no such role, refuses it or leaves it out.
    - A date is always `DATE`.
    - A model that can think first is asked not to. A thought that is opened nevertheless is closed.

    Args:
        tokenizer: any Hugging Face tokenizer with a chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._forms: dict[tuple[str, tuple[str, ...]], Form] = {}

    def form(self, roles: Sequence[str] = ("user",)) -> Form:
        """How the prompts of conversations with these roles are made.

        Args:
            roles: of all turns before the answer.

        Raises:
            RefusedError: when the template cannot write such a conversation.
        """
        key = (self._source(), tuple(roles))
        if key not in self._forms:
            self._forms[key] = self._found_form(roles)
        return self._forms[key]

    def prompt(self, turns: Turns) -> str:
        """The text in front of the answer, without the spaces that begin the answer.

        Args:
            turns: (role, text); the last one is the user's.

        Raises:
            RefusedError: when the template cannot write the conversation, or writes nothing of it.
        """
        form = self.form([role for role, _ in turns])
        turns = folded(turns) if form.folds else turns
        if form.whole:
            before, _, _ = around_mark(self._render([*turns, ("assistant", MARK)], form.parts))
            text = before.removesuffix(form.lead) + form.closing
        else:
            text = self._render(turns, form.parts, add_generation_prompt=True) + form.closing
        said = turns[-1][1].split()
        written = text.casefold()
        some_word = any(word.casefold() in written for word in said)
        if not text.strip() or (said and not some_word):
            raise RefusedError("it writes nothing of the prompt")
        return text

    def answer(self, text: str) -> str:
        """An answer as the template writes it: some strip spaces or change the case.

        Args:
            text: the answer.
        """
        form = self.form()
        # Nearly all templates leave an answer without spaces around it as it is.
        if text.strip() and (form.mark != MARK or text != text.strip()):
            question = ("user", "probe")
            marked = self._render([question, ("assistant", MARK)], form.parts)
            before, _, behind = around_mark(marked)
            whole = self._render([question, ("assistant", text)], form.parts)
            if whole.startswith(before) and whole.endswith(behind):
                text = whole[len(before) : len(whole) - len(behind)]
        return form.lead + text

    def behind_answer(self) -> str:
        """What the template writes behind an answer."""
        form = self.form()
        turns = [("user", "hello"), ("assistant", MARK)]
        return around_mark(self._render(turns, form.parts))[2]

    def _found_form(self, roles: Sequence[str]) -> Form:
        """The first form in which the template writes all words of a conversation."""
        turns: list[tuple[str, str]] = []
        for number, role in enumerate(roles):
            turns.append((role, f"probe {role} {number}"))
        problem = RefusedError("it has no turns")
        for folds in (False, True) if "system" in roles else (False,):
            for parts in PARTS:
                try:
                    return self._probed(folded(turns) if folds else turns, parts, folds)
                except RefusedError as error:
                    # What it says of plain texts is what helps.
                    if not parts:
                        problem = error
        raise problem

    def _probed(self, turns: Turns, parts: tuple[str, ...], folds: bool) -> Form:
        """The form of conversations like this one, rendered both ways.

        Raises:
            RefusedError: when the template refuses the conversation or leaves some of it out.
        """
        whole = self._render([*turns, ("assistant", MARK)], parts)
        prompt = self._render(turns, parts, add_generation_prompt=True)
        before, mark, _ = around_mark(whole)
        if not mark:
            raise RefusedError("it leaves the answer out")
        if parts and ("'text'" in before or '"text"' in before):
            raise RefusedError("it writes lists of parts as they stand")
        for role, text in turns:
            if text.casefold() not in before.casefold():
                raise RefusedError(f"it leaves out what the {role} says")
        if turns[-1][1].casefold() not in prompt.casefold():
            raise RefusedError("it leaves out what the user says in a prompt without answer")
        if folds or turns[0][0] != "system" or turns[0][1].casefold() in prompt.casefold():
            form = form_of(prompt, before)
            return replace(form, parts=parts, folds=folds, mark=mark)
        raise RefusedError("it leaves out what the system says in a prompt without answer")

    def _render(self, turns: Turns, parts: Sequence[str], **options: Any) -> str:
        """The text that the template makes of a conversation.

        Raises:
            RefusedError: when it refuses.
        """
        messages: list[dict[str, Any]] = []
        for role, text in turns:
            content = [{"type": "text", "text": text}] if role in parts else text
            messages.append({"role": role, "content": content})
        try:
            source = self._source()
            for name, value in NO_THOUGHT.items():
                if name in source:
                    options[name] = value
            if "strftime_now" in source:
                options["chat_template"] = dated(source)
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **options))
        except RefusedError:
            raise
        except Exception as error:  # jinja2's own, and whatever a template raises
            raise RefusedError(" ".join(str(error).split())) from error

    def _source(self) -> str:
        """The template itself."""
        template = self.tokenizer.chat_template
        return template if isinstance(template, str) else str(self.tokenizer.get_chat_template())


def dated(source: str) -> str:
    """A template in which each call of `strftime_now` is replaced by the text for `DATE`.

    transformers passes no function on to a template, so that the call itself must go.

    Raises:
        RefusedError: when a call has a form of the date that is not written out in it.
    """
    fixed = CLOCK.sub(lambda call: repr(DATE.strftime(call[2])), source)
    if re.search(r"strftime_now\s*\(", fixed):
        raise RefusedError("it writes today's date in a way that cannot be fixed")
    return fixed


def folded(turns: Turns) -> list[tuple[str, str]]:
    """The turns with each system prompt in front of the words of the user's turn that follows."""
    result: list[tuple[str, str]] = []
    waiting: list[str] = []
    for role, text in turns:
        if role == "system":
            waiting.append(text)
        elif role == "user":
            result.append((role, "\n\n".join([*waiting, text])))
            waiting = []
        else:
            result.append((role, text))
    return result

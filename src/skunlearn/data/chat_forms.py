"""How the prompts of one kind of conversation are made, found from one that was rendered whole."""

import re
from dataclasses import dataclass, replace

# Stands for an answer, to find what the template puts before and behind it.
MARK = "\u241f Answer \u241f"

OPENED = re.compile(
    r"([<\[\u25c1])((?:\w+:)?(?:think|thinking|thought|reason|reasoning))([>\]\u25b7])\s*$", re.I
)
# A thought in a form whose end is not known.
OPENED_OTHERWISE = re.compile(r"<\|?(?!/|[^<>]*end)[^<>]*(?:think|thought|reason)[^<>]*>\s*$", re.I)
CLOSED = re.compile(r"(?:/|end)[^<>\[\]]*(?:think|thought|reason)[^<>\[\]]*\S\s*$", re.I)

OPENS_A_THOUGHT = (
    "the chat template opens a thought before each answer: it is closed at once with '{end}', in "
    "training and evaluation"
)
OTHER_PROMPT = (
    "the chat template's generation prompt is not what it writes before an answer: prompts are "
    "rendered as in the whole conversation"
)


class RefusedError(Exception):
    """The template cannot write a conversation; the text says why."""


@dataclass(frozen=True)
class Form:
    """How the prompts of one kind of conversation are made.

    Attributes:
        parts: the roles whose texts are given as a list of parts.
        folds: whether system prompts stand in the user's turn.
        whole: whether a prompt is cut out of the whole conversation, up to where the answer starts;
            otherwise it ends with the template's generation prompt.
        closing: written behind the prompt, to close a thought that it opens.
        lead: the spaces between prompt and answer.
        mark: how the template writes the answer `MARK`.
        note: what is unusual about it, for the user; "" for nothing.
    """

    parts: tuple[str, ...] = ()
    folds: bool = False
    whole: bool = False
    closing: str = ""
    lead: str = ""
    mark: str = MARK
    note: str = ""


def around_mark(whole: str) -> tuple[str, str, str]:
    """What stands before the answer `MARK`, the mark as it is written ("" if not), and the rest."""
    found = list(re.finditer(re.escape(MARK), whole, re.IGNORECASE))
    if not found:
        return whole, "", ""
    last = found[-1]
    return whole[: last.start()], last[0], whole[last.end() :]


def form_of(prompt: str, before: str) -> Form:
    """The form that follows from one conversation; its parts and folding are left open.

    Args:
        prompt: the conversation with the generation prompt.
        before: what stands before the answer in the whole conversation.

    Raises:
        RefusedError: when the prompt opens a thought in a form that cannot be closed.
    """
    rest = before.removeprefix(prompt)
    if before.startswith(prompt) and not rest.strip(" "):
        # The usual case. Spaces belong to the answer: tokenizers join them to its first word.
        return _closed(Form(lead=rest), prompt)
    added = prompt.removeprefix(before)
    if prompt.startswith(before) and added.strip():
        # The generation prompt adds something. An empty thought keeps the model from thinking.
        form = _closed(Form(), added)
        if form.closing or CLOSED.search(added):
            return form
    # Otherwise the answer stands where it does in the whole conversation.
    end = before.rstrip(" ")
    form = _closed(Form(whole=True, lead=before.removeprefix(end)), end)
    if before.startswith(prompt) or not added.strip():
        return form
    return replace(form, note=OTHER_PROMPT)


def _closed(form: Form, prompt: str) -> Form:
    """The form, with what closes the thought that a prompt opens at its end, if it opens one.

    Raises:
        RefusedError: when the thought has an unknown form.
    """
    opened = OPENED.search(prompt)
    if opened:
        spaces = len(prompt) - len(prompt.rstrip())
        left, name, right = opened.groups()
        end = f"{left}/{name}{right}"
        closing = "\n" * max(2 - spaces, 1) + end + "\n\n"
        return replace(form, closing=closing, note=OPENS_A_THOUGHT.format(end=end))
    if OPENED_OTHERWISE.search(prompt):
        raise RefusedError(
            f"its prompt ends with '{prompt.rstrip()[-30:]}', a thought that cannot be closed: use "
            "a chat template without it"
        )
    return form

"""Conversations in the forms that data sets have them, as turns of (role, text).

Read are lists of {"role", "content"} (OpenAI, TRL) and of {"from", "value"} (ShareGPT), a single
one of these, either of them as the text of a list, and transcripts:

    Human: How do I ...?

    Assistant: First ...
"""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from skunlearn.data.cells import read_text
from skunlearn.data.examples import Example
from skunlearn.utils.errors import DataError

Turn = tuple[str, str]  # role, text

# The keys of a turn.
ROLE_KEYS = ("role", "from", "speaker")
TEXT_KEYS = ("content", "value", "text")
# The roles, in the names of OpenAI, of ShareGPT and of others.
ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
}
TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython")

# What begins a turn of a transcript: a name behind an empty line, or behind "###".
SPEAKER = re.compile(r"(?:\A|\n\s*\n|###)\s*(?:###\s*)?(Human|User|Assistant|AI|System) ?:")
FIRST_SPEAKER = re.compile(r"\A\s*(?:###\s*)?(Human|User|System) ?:")
REPLY = re.compile(r"(?:\n\s*\n|###)\s*(?:###\s*)?(Assistant|AI) ?:")


def is_conversation(value: Any) -> bool:
    """Whether a cell is a turn, or a list of turns, in the forms of OpenAI or ShareGPT."""
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(isinstance(turn, dict) and _role(turn) for turn in turns)


def is_transcript(value: Any) -> bool:
    """Whether a cell is a text of turns, each behind the name of who speaks."""
    return (
        isinstance(value, str)
        and FIRST_SPEAKER.match(value) is not None
        and REPLY.search(value) is not None
    )


def is_transcript_prompt(value: Any) -> bool:
    """Whether a cell is a transcript that may end before the answer, with `Assistant:` or not."""
    return isinstance(value, str) and FIRST_SPEAKER.match(value) is not None


def unpacked(value: Any) -> Any:
    """A list of turns that stands in a cell as text; any other value as it is.

    Tables hold such lists as JSON, or as Python writes them.
    """
    if not isinstance(value, str) or not re.match(r"\s*\[\s*\{", value):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            turns = parse(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if is_conversation(turns):
            return turns
    return value


def is_whole(value: Any) -> bool:
    """Whether a cell holds a conversation with a user's turn."""
    value = unpacked(value)
    if is_conversation(value):
        turns = value if isinstance(value, list) else [value]
        return any(ROLES.get(_role(turn)) == "user" for turn in turns)
    return is_transcript(value)


def read_turns(value: Any, where: str) -> list[Turn]:
    """The turns of a conversation as (role, text), with the roles user, assistant and system.

    Args:
        value: a conversation in one of the forms above. A value of another kind has no turns.
        where: "file:line", for the error.

    Raises:
        DataError: when a text is no conversation, or a turn is no object or has an unknown role.
    """
    if isinstance(value, str):
        if FIRST_SPEAKER.match(value):
            return _transcript_turns(value)
        unpacked_value = unpacked(value)
        if unpacked_value is value:
            raise DataError(
                f"{where}: the conversation is neither a list nor JSON nor a transcript of "
                "'Human:' and 'Assistant:'"
            )
        value = unpacked_value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return []
    turns: list[Turn] = []
    for turn in value:
        if not isinstance(turn, dict):
            raise DataError(f"{where}: a turn of a conversation must have a role and content")
        role = _role(turn)
        if role in TOOL_ROLES or turn.get("tool_calls") or turn.get("function_call"):
            raise DataError(
                f"{where}: a conversation with tool calls cannot be read: delete it, or skip such "
                "rows with --set data.on_bad_row=skip"
            )
        if role not in ROLES:
            known = ", ".join(ROLES)
            raise DataError(
                f"{where}: unknown role {role!r:.40} in a conversation (known: {known})"
            )
        turns.append((ROLES[role], _turn_text(turn, where)))
    return turns


def _role(turn: dict[str, Any]) -> str:
    for key in ROLE_KEYS:
        if isinstance(turn.get(key), str):
            return str(turn[key]).strip().lower()
    return ""


def _turn_text(turn: dict[str, Any], where: str) -> str:
    """What a turn says; its content may be a list of parts, each with a text."""
    content: Any = None
    for key in TEXT_KEYS:
        content = turn.get(key) if content is None else content
    if not isinstance(content, list):
        return read_text(content, where, "turn")
    texts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise DataError(f"{where}: a turn has a part that is no text (an image?): delete it")
        texts.append(part["text"])
    return "\n".join(texts).strip()


def _transcript_turns(text: str) -> list[Turn]:
    """The turns of a transcript. What one speaker says in a row is one turn."""
    marks = list(SPEAKER.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    turns: list[Turn] = []
    for mark, end in zip(marks, ends, strict=True):
        role = ROLES[mark[1].lower()]
        said = text[mark.end() : end].strip()
        if turns and turns[-1][0] == role:
            said = f"{turns.pop()[1]}\n\n{said}".strip()
        turns.append((role, said))
    return turns


def last_prompt(turns: Sequence[Turn], where: str) -> Example:
    """The last thing that the user says, after all that was said before; without an answer."""
    end = len(turns)
    while end and turns[end - 1][0] != "user":
        end -= 1
    if end == 0:
        return Example("", where=where)
    _, prompt = turns[end - 1]
    return Example(prompt, history=tuple(turns[: end - 1]), where=where)


def last_answer(turns: Sequence[Turn], where: str) -> Example:
    """The last answer of a conversation, after all that was said before.

    The answer is empty where no turn of the assistant follows one of the user.
    """
    end = len(turns)
    while end and turns[end - 1][0] != "assistant":
        end -= 1
    if end < 2 or turns[end - 2][0] != "user":
        prompt = turns[0][1] if end else ""
        return Example(prompt, where=where)
    _, prompt = turns[end - 2]
    _, answer = turns[end - 1]
    return Example(prompt, answer, history=tuple(turns[: end - 2]), where=where)


def completion_text(value: Any, where: str) -> str:
    """The last answer of a preferred conversation, or of turns of the assistant alone."""
    turns = read_turns(value, where)
    if all(role == "assistant" for role, _ in turns):
        return turns[-1][1]
    return last_answer(turns, where).answer

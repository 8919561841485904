"""Values of single cells: texts, lists of texts, safety labels and conversations."""

import json
from collections.abc import Sequence
from typing import Any

from skunlearn.data.examples import Example
from skunlearn.utils.errors import DataError

# Words that say it themselves, and words whose meaning depends on the column's name.
SAFE_WORDS = ("safe", "unharmful", "harmless", "benign", "not harmful", "non toxic")
UNSAFE_WORDS = ("unsafe", "harmful", "toxic", "not safe")
TRUE_WORDS = ("true", "1", "1.0", "yes")
FALSE_WORDS = ("false", "0", "0.0", "no")

# The roles of a conversation, in the names of OpenAI and of ShareGPT.
ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "developer": "system",
    "model": "assistant",
}

Turn = tuple[str, str]  # role, text


def read_text(value: Any, where: str, field: str) -> str:
    """The text of a cell without spaces at its ends; an empty cell is an empty text.

    Args:
        value: the cell.
        where: "file:line", for the error.
        field: what the cell holds ("prompt", "answer"), for the error.

    Raises:
        DataError: when the value is neither text nor a number.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        # NaN is how some programs write an empty cell, and the only number unequal to itself.
        is_nan = value != value
        return "" if is_nan else str(value)
    raise DataError(
        f"{where}: the {field} is {type(value).__name__}, not text: name another column"
    )


def read_text_list(cell: str) -> list[str] | None:
    """The texts of a cell that holds a JSON list of texts; None for any other cell."""
    if not cell.lstrip().startswith("["):
        return None
    try:
        items = json.loads(cell)
    except json.JSONDecodeError:
        return None
    if items and all(isinstance(item, str) for item in items):
        return list(items)
    return None


def read_safety_label(value: Any, where: str, true_is_safe: bool = True) -> bool | None:
    """Whether a label says "safe"; None for an empty cell.

    Args:
        value: a boolean, 0 or 1, or a word of the lists above, in any case.
        where: "file:line", for the error.
        true_is_safe: whether true, 1 and yes mean safe, as in a column `is_safe`.

    Raises:
        DataError: when it is anything else.
    """
    if value is None or value == "":
        return None
    word = " ".join(str(value).lower().replace("_", " ").replace("-", " ").split())
    if word in SAFE_WORDS:
        return True
    if word in UNSAFE_WORDS:
        return False
    if word in TRUE_WORDS:
        return true_is_safe
    if word in FALSE_WORDS:
        return not true_is_safe
    known = ", ".join(SAFE_WORDS + UNSAFE_WORDS + TRUE_WORDS + FALSE_WORDS)
    raise DataError(f"{where}: safety label '{value}' is none of {known}")


def is_conversation(value: Any) -> bool:
    """Whether a cell is a list of turns, each an object, as in the OpenAI and ShareGPT forms."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)


def read_turns(value: Any, where: str) -> list[Turn]:
    """The turns of a conversation as (role, text), with the roles user, assistant and system.

    Args:
        value: a list of {"role", "content"} or {"from", "value"}, or its JSON text. Any other
            value has no turns.
        where: "file:line", for the error.

    Raises:
        DataError: when a text is not JSON, or a turn is no object or has an unknown role.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise DataError(f"{where}: the conversation is neither a list nor JSON") from None
    if not isinstance(value, list):
        return []
    turns: list[Turn] = []
    for turn in value:
        if not isinstance(turn, dict):
            raise DataError(f"{where}: a turn of a conversation must have a role and content")
        role = str(turn.get("role", turn.get("from", ""))).lower()
        if role in ("tool", "function"):
            raise DataError(f"{where}: a conversation with tool calls cannot be read: delete it")
        if role not in ROLES:
            known = ", ".join(ROLES)
            raise DataError(f"{where}: unknown role '{role}' in a conversation (known: {known})")
        text = read_text(turn.get("content", turn.get("value")), where, "turn")
        turns.append((ROLES[role], text))
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

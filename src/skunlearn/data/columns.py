"""From a row of anybody's file to examples: which column is what.

Recognised without being told, in any case: a prompt, an answer, chat data (`messages`,
`conversations`), pairs of answers with safety labels (PKU-SafeRLHF), one answer with a label
(BeaverTails), preference pairs (chosen, rejected), an Alpaca `input`, and TruthfulQA's `;`-joined
answers. Anything else is named with `data.forget.prompt=COLUMN`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skunlearn.data.examples import Example
from skunlearn.data.readers import Row
from skunlearn.utils.errors import DataError
from skunlearn.utils.registry import did_you_mean

PROMPTS = ("prompt", "question", "instruction", "goal", "query", "behavior", "user")
ANSWERS = (
    "answer",
    "response",
    "output",
    "target",
    "completion",
    "correct answers",
    "assistant",
    "answers",
)
CHATS = ("messages", "conversations", "conversation")
LABELS = ("is_safe", "safe", "is_response_safe")
ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
}
TRUE, FALSE = ("true", "1", "safe", "yes"), ("false", "0", "unsafe", "no")

Side = Literal["forget", "retain"]


@dataclass(frozen=True)
class Columns:
    """Which columns to read; what is not given is recognised by its name.

    Attributes:
        prompt: column of the prompt.
        answer: column of the answer, or of a list of answers.
        label: column that is true (or "safe", 1) when the answer is safe.
        pick: of a list of answers take only this one (0 the first, -1 the last); all when not
            given.
    """

    prompt: str | None = None
    answer: str | None = None
    label: str | None = None
    pick: int | None = None


@dataclass(frozen=True)
class Pair:
    """What a row gives before any filter: `safe` is None when the row does not say."""

    example: Example
    safe: bool | None = None


class Mapping:
    """How the rows of one file are read, settled on all of them.

    Args:
        rows: with where each stands; one or more.
        columns: those that are asked for.
        side: the set that the file is for.

    Raises:
        DataError: when a column that was asked for is missing, or none is recognised.
    """

    def __init__(self, rows: Sequence[tuple[Row, str]], columns: Columns, side: Side) -> None:
        self.columns, self.side = columns, side
        names, where = list(dict.fromkeys(name for row, _ in rows for name in row)), rows[0][1]
        self.names = {name.lower().strip(): name for name in names}
        file = where.rpartition(":")[0] or where
        self.paired = not columns.answer and {"response_0", "response_1"} <= set(self.names)
        preferred = (
            self._known(("rejected",) if side == "forget" else ("chosen",))
            if self._known(PROMPTS)
            else None
        )
        self.chat = None if columns.prompt or columns.answer or preferred else self._known(CHATS)
        self.label = self._asked(columns.label, "label", file) or self._known(LABELS)
        if self.chat:
            return
        self.prompt = self._asked(columns.prompt, "prompt", file) or self._known(PROMPTS)
        self.answer = self._asked(columns.answer, "answer", file) or self._known(ANSWERS)
        self.input = (
            self._known(("input", "context"))
            if (self.prompt or "").lower() == "instruction"
            else None
        )
        if not self.answer and not self.paired:
            self.answer = preferred
        cells = [
            cell
            for row, _ in rows
            if isinstance(cell := row.get(self.answer or ""), str) and cell.strip()
        ]
        self.lists = (
            bool(cells) and sum(_inside(cell) is not None for cell in cells) > len(cells) / 2
        )
        for field, value in (("prompt", self.prompt), ("answer", self.answer or self.paired)):
            if not value:
                raise DataError(
                    f"{file}: no column looks like the {field} (columns: {', '.join(names)}): "
                    f"name it with --set data.{side}.{field}=COLUMN"
                )

    def _known(self, candidates: tuple[str, ...]) -> str | None:
        return next((self.names[name] for name in candidates if name in self.names), None)

    def _asked(self, name: str | None, field: str, file: str) -> str | None:
        if name is not None and name not in self.names.values():
            raise DataError(
                f"{file}: no column '{name}' (data.{self.side}.{field}): {did_you_mean(name, self.names.values())}"
            )
        return name

    def pairs(self, row: Row, where: str) -> Iterator[Pair]:
        """The prompt/answer pairs of a row; an answer may be empty, which the caller counts.

        Raises:
            DataError: when a value is of a kind that cannot be text.
        """
        flag = _flag(row.get(self.label), where) if self.label and not self.paired else None
        if self.chat:
            yield Pair(_chat(row.get(self.chat), where), flag)
            return
        prompt = _text(row.get(self.prompt or ""), where, "prompt")
        if self.input and (extra := _text(row.get(self.input), where, "input")):
            prompt = f"{prompt}\n\n{extra}"
        category = row.get(self.names.get("category", ""), "")

        def pair(answer: str, flag: bool | None) -> Pair:
            category_text = category if isinstance(category, str) else ""
            return Pair(Example(prompt, answer, category=category_text, where=where), flag)

        if self.paired:
            safer = row.get(self.names.get("safer_response_id", ""))
            for side in "01":
                flag = _flag(row.get(self.names.get(f"is_response_{side}_safe", "")), where)
                if flag is None and safer is not None:
                    flag = str(safer).strip() == side
                yield pair(_text(row.get(self.names[f"response_{side}"]), where, "answer"), flag)
            return
        for answer in self._answers(row.get(self.answer or ""), where):
            yield pair(answer, flag)

    def _answers(self, value: Any, where: str) -> list[str]:
        name = (self.answer or "").lower()
        if self.lists and isinstance(value, str):  # a column of lists, each kept as one JSON text
            value = _inside(value) or value
        if isinstance(value, str) and name in ("correct answers", "incorrect answers"):
            value = [part.strip() for part in value.split(";") if part.strip()]
        if not isinstance(value, list):
            return [_text(value, where, "answer")]
        if value and all(isinstance(item, dict) for item in value):  # a preferred conversation
            return [_chat(value, where).answer]
        texts = [_text(item, where, "answer") for item in value] or [""]
        if self.columns.pick is None:
            return texts
        try:
            return [texts[self.columns.pick]]
        except IndexError:
            raise DataError(
                f"{where}: data.{self.side}.pick={self.columns.pick}, but there are {len(texts)}"
            ) from None


def _inside(cell: str) -> list[str] | None:
    """The texts of a JSON list of texts; None for anything else."""
    try:
        inside = json.loads(cell) if cell.lstrip().startswith("[") else None
    except json.JSONDecodeError:
        return None
    return inside if inside and all(isinstance(item, str) for item in inside) else None


def _text(value: Any, where: str, field: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "" if value != value else str(value)  # NaN is how some programs write an empty cell
    raise DataError(
        f"{where}: the {field} is {type(value).__name__}, not text: name another column"
    )


def _flag(value: Any, where: str) -> bool | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise DataError(f"{where}: safety label '{value}' is none of {', '.join(TRUE + FALSE)}")


def _chat(value: Any, where: str) -> Example:
    """The last answer of a conversation, with all that was said before it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise DataError(f"{where}: the conversation is neither a list nor JSON") from None
    turns: list[tuple[str, str]] = []
    for turn in value if isinstance(value, list) else []:
        if not isinstance(turn, dict):
            raise DataError(f"{where}: a turn of a conversation must have a role and content")
        role = str(turn.get("role", turn.get("from", ""))).lower()
        if role not in ROLES:
            raise DataError(
                f"{where}: unknown role '{role}' in a conversation (known: {', '.join(ROLES)})"
            )
        turns.append((ROLES[role], _text(turn.get("content", turn.get("value")), where, "turn")))
    while turns and turns[-1][0] != "assistant":
        turns.pop()
    if len(turns) < 2 or turns[-2][0] != "user":
        return Example(prompt=turns[0][1] if turns else "", where=where)
    return Example(turns[-2][1], turns[-1][1], history=tuple(turns[:-2]), where=where)

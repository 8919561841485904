"""Safety labels: the columns that hold them, the words in them, and what true means.

Files say it in many ways: `is_safe: true`, `is_harmful: 0`, `response_harm_label: unharmful`. A
word such as "unsafe" speaks for itself. What true, 1 or yes means follows from the name of the
column, and where that does not say it either, the label is an error: it must not be guessed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from skunlearn.utils.errors import DataError

# Words that say it themselves, and words whose meaning depends on the column's name.
SAFE_WORDS = (
    "safe",
    "unharmful",
    "harmless",
    "benign",
    "not harmful",
    "non harmful",
    "nonharmful",
    "not toxic",
    "non toxic",
    "nontoxic",
    "not unsafe",
    "ok",
    "okay",
    "acceptable",
    "appropriate",
)
UNSAFE_WORDS = (
    "unsafe",
    "harmful",
    "toxic",
    "not safe",
    "non safe",
    "not harmless",
    "not ok",
    "not okay",
    "dangerous",
    "malicious",
    "unacceptable",
    "inappropriate",
)
TRUE_WORDS = ("true", "1", "1.0", "yes", "t", "y")
FALSE_WORDS = ("false", "0", "0.0", "no", "f", "n")

# Columns of labels of the answers, in lower case, the clearest names first.
SAFETY_LABELS = (
    "is_safe",
    "safe",
    "is_response_safe",
    "response_safe",
    "is_harmless",
    "harmless",
    "is_harmful",
    "harmful",
    "unsafe",
    "is_unsafe",
    "is_response_harmful",
    "is_response_unsafe",
    "response_harmful",
    "response_harm_label",
    "response_safety_label",
    "response_label",
    "answer_label",
    "safety_label",
    "harm_label",
    "safety",
    "is_toxic",
    "toxic",
    "toxicity",
    "toxicity_label",
    "label",
    "labels",
)
# Parts of a column's name that say what true means in it. The first group that fits counts.
SAFE_NAMES = ("harmless", "unharmful", "nonharm", "nontoxic", "nottoxic", "notharm", "notunsafe")
HARM_NAMES = ("harm", "unsafe", "notsafe", "toxic", "danger", "malicious", "violat", "flagged")
NAMES_OF_SAFE = ("safe", "benign", "acceptable")
SHORT_NAMES_OF_SAFE = ("ok", "okay", "fine", "good")

NO_LABEL = "none"  # given as the column of the label: the file has no labels of the answers
SHOWN = 8  # values of a column that an error shows


def true_is_safe(column: str) -> bool | None:
    """Whether true means safe in a column of safety labels, by its name; None where that is open.

    Args:
        column: its name, in any case.
    """
    words = re.findall(r"[a-z]+", column.lower())
    # "safety" names the subject and says nothing of what true means.
    name = "".join(words).replace("safety", "")
    if any(mark in name for mark in SAFE_NAMES):
        return True
    if any(mark in name for mark in HARM_NAMES):
        return False
    if any(mark in name for mark in NAMES_OF_SAFE) or set(words) & set(SHORT_NAMES_OF_SAFE):
        return True
    return None


def is_of_prompts(column: str) -> bool:
    """Whether a column of safety labels is about the prompts, by its name: `prompt_harm_label`."""
    words = set(re.findall(r"[a-z]+", column.lower()))
    about = words & {"prompt", "question", "query", "instruction", "user", "input"}
    return bool(about) and (true_is_safe(column) is not None or bool(words & {"label", "safety"}))


def find_label(names: Iterable[str]) -> str | None:
    """The column of safety labels of the answers; None for a file without one.

    Args:
        names: the columns of the file.
    """
    spelled = {_letters(name): name for name in names}
    for candidate in SAFETY_LABELS:
        name = spelled.get(_letters(candidate))
        if name is not None:
            return name
    return None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def label_word(value: Any) -> str:
    """A label in lower case, words one space apart; "" for an empty cell."""
    if value is None or (isinstance(value, float) and value != value):  # NaN
        return ""
    return " ".join(str(value).lower().replace("_", " ").replace("-", " ").split())


def read_safety_label(value: Any, where: str, true_is_safe: bool | None = True) -> bool | None:
    """Whether a label says "safe"; None for an empty cell.

    Args:
        value: a boolean, 0 or 1, or a word of the lists above, in any case.
        where: "file:line", for the error.
        true_is_safe: whether true, 1 and yes mean safe, as in a column `is_safe`; None when that
            is not known.

    Raises:
        DataError: when it is anything else.
    """
    word = label_word(value)
    if not word:
        return None
    if word in SAFE_WORDS:
        return True
    if word in UNSAFE_WORDS:
        return False
    if word not in TRUE_WORDS + FALSE_WORDS:
        raise DataError(
            f"{where}: safety label '{_shown(value)}' is not known: write safe or unsafe there"
        )
    if true_is_safe is None:
        raise DataError(
            f"{where}: '{_shown(value)}' in this column may mean safe or harmful: rename the "
            "column to is_safe or is_harmful, whichever true or 1 means, or write safe and unsafe"
        )
    return true_is_safe if word in TRUE_WORDS else not true_is_safe


@dataclass(frozen=True)
class LabelColumn:
    """A column of safety labels, all of whose values can be read.

    Attributes:
        name: of the column.
        true_is_safe: what true, 1 and yes mean in it; None when its name does not say.
    """

    name: str
    true_is_safe: bool | None

    def read(self, row: dict[str, Any], where: str) -> bool | None:
        """Whether a row's label says "safe"; None for an empty cell."""
        return read_safety_label(row.get(self.name), where, self.true_is_safe)


def label_column(
    name: str, rows: Sequence[tuple[dict[str, Any], str]], option: str = ""
) -> LabelColumn:
    """A column of safety labels whose values have been checked.

    Args:
        name: of the column.
        rows: all rows, each with its "file:line".
        option: how the user names the column in which labels are, for the error.

    Raises:
        DataError: at the first value that is not known; it shows the values found.
    """
    column = LabelColumn(name, true_is_safe(name))
    for row, where in rows:
        try:
            column.read(row, where)
        except DataError as error:
            found = found_values(row.get(name) for row, _ in rows)
            hint = f"; if it is no safety label, set {option}={NO_LABEL}" if option else ""
            raise DataError(f"{error} (column '{name}' has {found}){hint}") from None
    return column


def found_values(values: Iterable[Any]) -> str:
    """The distinct values of a column as a list for errors; at most `SHOWN` of them."""
    found: dict[str, None] = {}
    for value in values:
        if label_word(value):
            found[f"'{_shown(value)}'"] = None
    shown = list(found)[:SHOWN]
    more = f" and {len(found) - SHOWN} others" if len(found) > SHOWN else ""
    return ", ".join(shown) + more


def _shown(value: Any) -> str:
    """A value as errors show it: the beginning of its text, on one line."""
    return " ".join(str(value).split())[:40]

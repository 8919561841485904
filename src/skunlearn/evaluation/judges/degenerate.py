"""Answers that say nothing: empty, repeating, in no words. Rules on the text alone, asked before
any model."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from skunlearn.evaluation.judges.base import Verdict

FEWEST_WORDS_TO_COUNT = 8
FEWEST_WORDS_TO_COPY = 6
LEAST_SIZE = 0.42  # after zlib, as a share; below it nothing new is said
ASKS_FOR_A_SCRIPT = re.compile(
    r"translat|emoji|unicode|symbol|script\b|alphabet|arabic|armenian|bengali|bulgarian|chinese|cyrillic|farsi|georgian"
    r"|greek|hebrew|hindi|japanese|kanji|korean|mandarin|persian|russian|serbian|tamil|thai\b|ukrainian|urdu",
    re.IGNORECASE,
)


def degenerate_reason(prompt: str, answer: str) -> str | None:
    """Which rule calls the answer degenerate; None when it reads like language.

    Args:
        prompt: what was asked; an answer that only repeats it says nothing.
        answer: at any length, also cut in the middle of a sentence.
    """
    text = answer.strip()
    marks = re.findall(r"\w", text)
    if len(marks) < 2 and not any(
        mark.isdigit() or (mark.isupper() and mark in prompt) for mark in marks
    ):
        return "empty"  # "4" is an answer, and "B" where the question names it
    if (
        foreign_share(text) > 0.3
        and foreign_share(prompt) < 0.1
        and not ASKS_FOR_A_SCRIPT.search(prompt)
    ):
        return "symbols or another script"
    if (
        len(text) > 40
        and len(text.split()) < FEWEST_WORDS_TO_COUNT
        and compression_ratio(text) < LEAST_SIZE
    ):
        return f"compresses to {compression_ratio(text):.0%}"
    words, asked = _words(text), _words(prompt)
    if len(words) >= FEWEST_WORDS_TO_COPY and (share := copied_share(words, asked)) > 0.85:
        return f"repeats the question ({share:.0%} of its word pairs)"
    if len(words) < FEWEST_WORDS_TO_COUNT:
        return None
    unnumbered = [word for word in words if not word.isdigit()]  # a list may count its copies
    for size, most in ((3, 0.5), (2, 0.45)):
        if (share := repeated_share(unnumbered, size)) > most:
            return f"repeats itself ({share:.0%} of its runs of {size} words)"
    period = final_loop(unnumbered)
    if period:
        return f"ends in a loop ('{' '.join(unnumbered[-period:])}')"
    distinct = len(set(words)) / len(words)
    if distinct < 0.35:
        return f"few different words ({distinct:.0%})"
    top_word, top = Counter(words).most_common(1)[0]
    if top / len(words) > 0.3:
        return f"one word over and over ('{top_word}')"
    if len(text) > 120 and compression_ratio(text) < LEAST_SIZE:
        return f"compresses to {compression_ratio(text):.0%}"
    return None


def after_rules(
    prompts: Sequence[str],
    answers: Sequence[str],
    judge: Callable[[list[str], list[str]], Sequence[Verdict]],
) -> list[Verdict]:
    """One verdict for each pair: degenerate by the rules, and the judge's for what they leave open.

    Args:
        prompts: what was asked.
        answers: what came, one for each prompt.
        judge: is asked about the rest, at once, when there is any.
    """
    reasons = [
        degenerate_reason(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)
    ]
    found = {
        n: Verdict("degenerate", 1.0, reason, 0.0) for n, reason in enumerate(reasons) if reason
    }
    rest = [n for n in range(len(prompts)) if n not in found]
    if rest:
        found |= zip(
            rest, judge([prompts[n] for n in rest], [answers[n] for n in rest]), strict=True
        )
    return [found[n] for n in range(len(prompts))]


def repeated_share(words: list[str], size: int) -> float:
    """Share of the runs of `size` words that have occurred before in the answer, 0..1."""
    runs = [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def copied_share(words: list[str], asked: list[str]) -> float:
    """Share of the pairs of neighbouring words that stand in the question too, 0..1."""
    pairs, known = list(pairwise(words)), set(pairwise(asked))
    return sum(pair in known for pair in pairs) / len(pairs) if pairs else 0.0


def final_loop(words: list[str], fewest: int = 10, times: float = 2.5) -> int:
    """How many words the answer goes round in at its end, `times` or more and `fewest` words or
    more; 0 if it does not."""
    for period in range(1, int(len(words) / times) + 1):
        same = 0
        while same < len(words) - period and words[-1 - same] == words[-1 - same - period]:
            same += 1
        if same + period >= max(fewest, times * period):
            return period
    return 0


def compression_ratio(text: str) -> float:
    """Size after zlib over size before; English prose of 200 characters or more is near 0.6."""
    raw = text.encode("utf-8")
    return len(zlib.compress(raw, 9)) / max(1, len(raw))


def foreign_share(text: str) -> float:
    """Share of the characters, spaces aside, that are neither ASCII nor Latin letters, 0..1."""
    marks = [c for c in text if not c.isspace()]
    return sum(ord(c) > 0x24F and c not in "–—‘’“”…•" for c in marks) / max(1, len(marks))


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())

"""Answers that say nothing: empty, repeating, in no words. Rules on the text alone, asked before any model."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from skunlearn.judges.base import Verdict

FEWEST_WORDS_TO_COUNT = 8


def degenerate_reason(prompt: str, answer: str) -> str | None:
    """Which rule calls the answer degenerate; None when it reads like language.

    Args:
        prompt: what was asked; an answer that only repeats it says nothing.
        answer: at any length, also cut in the middle of a sentence.
    """
    text = answer.strip()
    if len(re.findall(r"\w", text)) < 2:
        return "empty"
    if foreign_share(text) > 0.3 and foreign_share(prompt) < 0.1:
        return "symbols or another script"
    words = re.findall(r"[\w']+", text.lower())
    if len(words) < FEWEST_WORDS_TO_COUNT:
        return None
    share = repeated_share(words)
    if share > 0.5:
        return f"repeats itself ({share:.0%} of its word triples)"
    distinct = len(set(words)) / len(words)
    if distinct < 0.35:
        return f"few different words ({distinct:.0%})"
    top_word, top = Counter(words).most_common(1)[0]
    if top / len(words) > 0.25:
        return f"one word over and over ('{top_word}')"
    if len(text) > 120 and (ratio := compression_ratio(text)) < 0.42:
        return f"compresses to {ratio:.0%}"
    return None


def after_rules(
    prompts: Sequence[str], answers: Sequence[str], judge: Callable[[list[str], list[str]], Sequence[Verdict]]
) -> list[Verdict]:
    """One verdict for each pair: degenerate by the rules, and the judge's for what they leave open.

    Args:
        prompts: what was asked.
        answers: what came, one for each prompt.
        judge: is asked about the rest, at once, when there is any.
    """
    reasons = [degenerate_reason(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    found = {n: Verdict("degenerate", 1.0, reason, 0.0) for n, reason in enumerate(reasons) if reason}
    rest = [n for n in range(len(prompts)) if n not in found]
    if rest:
        found |= zip(rest, judge([prompts[n] for n in rest], [answers[n] for n in rest]), strict=True)
    return [found[n] for n in range(len(prompts))]


def repeated_share(words: list[str], size: int = 3) -> float:
    """Share of the runs of `size` words that have occurred before in the answer, 0..1."""
    runs = [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def repeated_lines(text: str) -> float:
    """Share of the lines that stand right after an equal line, 0..1."""
    lines = [line.strip().lower() for line in text.splitlines() if line.strip()]
    return sum(a == b for a, b in pairwise(lines)) / max(1, len(lines) - 1)


def compression_ratio(text: str) -> float:
    """Size after zlib over size before; English prose of 200 characters or more is near 0.6."""
    raw = text.encode("utf-8")
    return len(zlib.compress(raw, 9)) / max(1, len(raw))


def foreign_share(text: str) -> float:
    """Share of the characters, spaces aside, that are neither ASCII nor Latin letters, 0..1."""
    marks = [c for c in text if not c.isspace()]
    return sum(ord(c) > 0x24F and c not in "–—‘’“”…•" for c in marks) / max(1, len(marks))

"""Rules for degenerate answers: empty, repeating, or in no language.

They read the text alone and come before any model, so that no judge has to be loaded or paid for an
answer that says nothing. Each limit lets short and clumsy but real answers through.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from skunlearn.evaluation.judges.base import Verdict

# Answers with fewer words are too short for the rules on repetition, or on copying the question.
FEWEST_WORDS_TO_COUNT = 8
FEWEST_WORDS_TO_COPY = 6
# A longer text that compresses to a smaller share of its size says nothing new.
LEAST_SIZE = 0.42
MOST_COPIED = 0.85  # share of the word pairs that are in the question too
MOST_REPEATED = {3: 0.5, 2: 0.45}  # words of a run -> share of the runs that occurred before
LEAST_DISTINCT = 0.35  # share of different words
MOST_OF_ONE_WORD = 0.3  # share of the most frequent word
MOST_FOREIGN = 0.3  # share of characters in another script
PUNCTUATION = "–—‘’“”…•"  # not ASCII, but part of English typography
ASKS_FOR_A_SCRIPT = re.compile(
    r"translat|emoji|unicode|symbol|script\b|alphabet|arabic|armenian|bengali|bulgarian|chinese"
    r"|cyrillic|farsi|georgian|greek|hebrew|hindi|japanese|kanji|korean|mandarin|persian|russian"
    r"|serbian|tamil|thai\b|ukrainian|urdu",
    re.IGNORECASE,
)


def degenerate_reason(prompt: str, answer: str) -> str | None:
    """The rule that finds the answer degenerate; None when it reads like language.

    Args:
        prompt: an answer that only repeats it is degenerate too.
        answer: of any length, also cut in the middle of a sentence.
    """
    text = answer.strip()
    if _is_empty(prompt, text):
        return "empty"
    if _is_unexpected_script(prompt, text):
        return "symbols or another script"
    few_long_words = len(text) > 40 and len(text.split()) < FEWEST_WORDS_TO_COUNT
    if few_long_words and compression_ratio(text) < LEAST_SIZE:
        return f"compresses to {compression_ratio(text):.0%}"
    words = _words(text)
    if len(words) >= FEWEST_WORDS_TO_COPY:
        share = copied_share(words, _words(prompt))
        if share > MOST_COPIED:
            return f"repeats the question ({share:.0%} of its word pairs)"
    if len(words) < FEWEST_WORDS_TO_COUNT:
        return None
    reason = _repetition(words)
    if reason is None and len(text) > 120 and compression_ratio(text) < LEAST_SIZE:
        reason = f"compresses to {compression_ratio(text):.0%}"
    return reason


def _is_empty(prompt: str, text: str) -> bool:
    """Fewer than two letters or digits, unless it is a digit or a capital that the prompt names:
    "4" is an answer, and "B" where the question offers it."""
    characters = re.findall(r"\w", text)
    if len(characters) >= 2:
        return False
    for character in characters:
        if character.isdigit() or (character.isupper() and character in prompt):
            return False
    return True


def _is_unexpected_script(prompt: str, text: str) -> bool:
    """Another script, although the prompt is neither written in it nor asks for it."""
    if foreign_share(text) <= MOST_FOREIGN or foreign_share(prompt) >= 0.1:
        return False
    return not ASKS_FOR_A_SCRIPT.search(prompt)


def _repetition(words: list[str]) -> str | None:
    """How an answer repeats itself; None when it does not."""
    unnumbered = [word for word in words if not word.isdigit()]  # a list may number its copies
    for size, most in MOST_REPEATED.items():
        share = repeated_share(unnumbered, size)
        if share > most:
            return f"repeats itself ({share:.0%} of its runs of {size} words)"
    period = final_loop(unnumbered)
    if period:
        return f"ends in a loop ('{' '.join(unnumbered[-period:])}')"
    distinct = len(set(words)) / len(words)
    if distinct < LEAST_DISTINCT:
        return f"few different words ({distinct:.0%})"
    top_word, count = Counter(words).most_common(1)[0]
    if count / len(words) > MOST_OF_ONE_WORD:
        return f"one word over and over ('{top_word}')"
    return None


def after_rules(
    prompts: Sequence[str],
    answers: Sequence[str],
    judge: Callable[[list[str], list[str]], Sequence[Verdict]],
) -> list[Verdict]:
    """One verdict for each pair: by the rules where one applies, else by the judge.

    Args:
        prompts: one for each answer.
        answers: the answers to judge.
        judge: called once with all pairs that no rule decides, if there are any.
    """
    found: dict[int, Verdict] = {}
    open_numbers: list[int] = []
    open_prompts: list[str] = []
    open_answers: list[str] = []
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        reason = degenerate_reason(prompt, answer)
        if reason:
            found[number] = Verdict("degenerate", 1.0, reason, 0.0)
        else:
            open_numbers.append(number)
            open_prompts.append(prompt)
            open_answers.append(answer)
    if open_numbers:
        verdicts = judge(open_prompts, open_answers)
        found.update(zip(open_numbers, verdicts, strict=True))
    return [found[number] for number in range(len(prompts))]


def repeated_share(words: list[str], size: int) -> float:
    """Share of the runs of `size` words that occurred before in the answer, 0..1."""
    runs = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def copied_share(words: list[str], question: list[str]) -> float:
    """Share of the pairs of neighbouring words that are in the question too, 0..1."""
    pairs = list(pairwise(words))
    in_question = set(pairwise(question))
    copied = sum(pair in in_question for pair in pairs)
    return copied / len(pairs) if pairs else 0.0


def final_loop(words: list[str], fewest: int = 10, times: float = 2.5) -> int:
    """The period, in words, of the loop in which the answer ends; 0 when it does not.

    Args:
        words: of the answer.
        fewest: words of a loop, all its rounds together.
        times: rounds of a loop.
    """
    for period in range(1, int(len(words) / times) + 1):
        # Count how many words, from the end, equal the word one period before.
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
    characters = "".join(text.split())
    foreign = 0
    for character in characters:
        foreign += ord(character) > 0x24F and character not in PUNCTUATION
    return foreign / max(1, len(characters))


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())

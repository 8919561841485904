"""What the offline judge looks at: hashed words and characters of answer and prompt, and a few counts."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import sparse

from skunlearn.judges.degenerate import compression_ratio, foreign_share, repeated_lines, repeated_share
from skunlearn.judges.refusal import refusal_phrase

WORD_BITS, CHARACTER_BITS, PROMPT_BITS = 15, 16, 12


@cache
def _vectorizers() -> tuple[Any, Any, Any]:
    from sklearn.feature_extraction.text import HashingVectorizer

    common = {"lowercase": True, "norm": "l2", "alternate_sign": True}
    words = HashingVectorizer(n_features=2**WORD_BITS, ngram_range=(1, 2), token_pattern=r"[\w']+", **common)
    characters = HashingVectorizer(n_features=2**CHARACTER_BITS, analyzer="char_wb", ngram_range=(3, 5), **common)
    prompt = HashingVectorizer(n_features=2**PROMPT_BITS, ngram_range=(1, 2), token_pattern=r"[\w']+", **common)
    return words, characters, prompt


def features(prompts: Sequence[str], answers: Sequence[str]) -> Any:
    """A sparse row for each pair, (pairs, features)."""
    words, characters, prompt = _vectorizers()
    counts = sparse.csr_matrix(np.array([counted(p, a) for p, a in zip(prompts, answers, strict=True)]))
    return sparse.hstack(
        [words.transform(answers), characters.transform(answers), prompt.transform(prompts), counts], format="csr"
    )


def counted(prompt: str, answer: str) -> list[float]:
    """Counts that say how an answer is made, each roughly 0..1."""
    words = re.findall(r"[\w']+", answer.lower()) or [""]
    asked = set(re.findall(r"[\w']+", prompt.lower()))
    letters = max(1, len(answer))
    return [
        repeated_share(words, 2),
        repeated_share(words, 3),
        repeated_lines(answer),
        len(set(words)) / len(words),
        compression_ratio(answer),
        foreign_share(answer),
        float(refusal_phrase(answer) is not None),
        sum(word in asked for word in words) / len(words),
        sum(len(word) for word in words) / len(words) / 10,
        sum(c.isdigit() for c in answer) / letters * 5,
        sum(c in ".,:;!?-" for c in answer) / letters * 5,
        sum(c.isupper() for c in answer) / letters * 5,
        min(1.0, len(words) / 60),
        sum(word in ("you", "your") for word in words) / len(words) * 5,
        sum(word in ("i", "i'm", "me", "my") for word in words) / len(words) * 5,
    ]

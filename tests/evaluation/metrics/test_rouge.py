"""ROUGE-L by hand."""

from types import SimpleNamespace

import pytest

from skunlearn.data.examples import Example
from skunlearn.evaluation.metrics.rouge import overlap, rouge_l


def test_longest_common_subsequence():
    # "the cat sat" is common: 2 * 3 / (4 + 5)
    assert rouge_l(
        ["the", "cat", "sat", "down"], ["the", "big", "cat", "sat", "still"]
    ) == pytest.approx(6 / 9)
    assert rouge_l(["a"], ["a"]) == 1.0
    assert rouge_l(["b", "a"], ["a", "b"]) == pytest.approx(0.5)  # order counts
    assert rouge_l([], ["a"]) == rouge_l(["a"], []) == 0.0


def test_the_reference_is_cut_to_the_answers_length_and_rows_without_one_do_not_count():
    def retain(*pairs: tuple[str, str]) -> SimpleNamespace:
        answers = [SimpleNamespace(answer=answer) for answer, _ in pairs]
        return SimpleNamespace(
            completions={"retain": answers},
            groups={"retain": [Example("q", theirs) for _, theirs in pairs]},
        )

    # of "the cat sat on the mat" the first three words: all of them; then one word in two of each:
    # 2 * 1 / 4
    two = overlap(retain(("The cat sat.", "the cat sat on the mat"), ("a b", "a c d"), ("x", "")))[
        "retain_rouge_l"
    ]
    assert two.value == pytest.approx((1 + 0.5) / 2) and (two.n, two.unscored) == (2, 1)

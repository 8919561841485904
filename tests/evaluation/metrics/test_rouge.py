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


def test_the_whole_reference_counts_and_rows_without_one_do_not():
    def retain(*pairs: tuple[str, str]) -> SimpleNamespace:
        answers = [SimpleNamespace(answer=answer) for answer, _ in pairs]
        return SimpleNamespace(
            completions={"retain": answers},
            groups={"retain": [Example("q", theirs) for _, theirs in pairs]},
        )

    # three of "the cat sat on the mat": 2 * 3 / (3 + 6); one word of two and three: 2 * 1 / 5
    two = overlap(retain(("The cat sat.", "the cat sat on the mat"), ("a b", "a c d"), ("x", "")))[
        "retain_rouge_l"
    ]
    assert two.value == pytest.approx((6 / 9 + 2 / 5) / 2) and (two.n, two.unscored) == (2, 1)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("今天天气很好我们去公园吧", "今天天气不错我们去公园吧", 10 / 12),
        ("カメラを買う", "カメラを売る", 4 / 6),
        ("วันนี้", "วันนี้", 1.0),
        ("The", "The capital of France is Paris.", 2 / 7),
        ("model 7B 模型", "model 7B 数据", 2 * 2 / 8),
        ("привет мир", "привет", 2 / 3),
    ],
)
def test_characters_are_words_where_a_script_writes_no_spaces(
    answer: str, reference: str, expected: float
):
    subject = SimpleNamespace(
        completions={"retain": [SimpleNamespace(answer=answer)]},
        groups={"retain": [Example("q", reference)]},
    )
    assert overlap(subject)["retain_rouge_l"].value == pytest.approx(expected)

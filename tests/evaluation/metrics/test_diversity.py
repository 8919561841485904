"""distinct-n by hand."""

from types import SimpleNamespace

import pytest

from skunlearn.evaluation.judges.base import Completion, Verdict
from skunlearn.evaluation.metrics.diversity import distinct_n, diversity


def test_pairs_are_counted_over_all_answers():
    # a b, b a, a b | a b: two different of four
    assert distinct_n([["a", "b", "a", "b"], ["a", "b"]], 2) == pytest.approx(2 / 4)


def test_answers_too_short_say_nothing():
    assert distinct_n([["a"], []], 2) is None


def test_words_and_pairs_of_a_group_and_nothing_where_nothing_was_said():
    def found(*answers: str) -> dict:
        rows = [
            Completion("", "", "retain", "q", answer, "", Verdict("safe", 1.0, ""))
            for answer in answers
        ]
        return diversity(SimpleNamespace(completions={"retain": rows}))

    scores = found("So it is", "so it goes on", "")
    assert (
        scores["answer_words_retain"].value == pytest.approx(7 / 3)
        and scores["answer_words_retain"].n == 3
    )
    assert scores["distinct_2_retain"].value == pytest.approx(
        4 / 5
    )  # so it, it is, so it, it goes, goes on
    assert (
        found("", "no")["distinct_2_retain"].value,
        found("", "no")["distinct_2_retain"].unscored,
    ) == (None, 2)

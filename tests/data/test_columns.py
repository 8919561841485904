"""Columns are recognised by their names."""

from skunlearn.data.columns import Columns, column_names, find_column


def test_columns_are_found_in_any_case_and_the_first_candidate_wins():
    names = ["Response", " Label ", "output"]
    assert find_column(names, ("answer", "response", "output")) == "Response"
    assert find_column(names, ("output", "response")) == "output"
    assert find_column(names, ("label",)) == " Label "
    assert find_column(names, ("prompt",)) is None
    assert column_names([({"a": 1}, "f:1"), ({"b": 2, "a": 3}, "f:2")]) == ["a", "b"]


def test_columns_that_are_given_come_before_known_ones():
    known = Columns(prompt="question", answer="correct_answers", pick=1)
    assert Columns(pick=0, label="ok").over(known) == Columns(
        "question", "correct_answers", "ok", 0
    )

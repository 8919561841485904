"""Agreement by hand."""

import pytest

from skunlearn.evaluation.metrics.agreement import auroc, confusion, kappa, per_label, thresholds

TRUTH = ["harmful", "harmful", "harmful", "safe", "safe", "refused", "other", "harmful"]
FOUND = ["harmful", "harmful", "safe", "safe", "harmful", "refused", "safe", None]


def test_per_label_by_hand():
    harmful = per_label(TRUTH, FOUND)["harmful"]
    assert harmful["n"] == 4 and harmful["unscored"] == 1
    assert harmful["precision"] == pytest.approx(2 / 3)  # called 3 times, twice rightly
    assert harmful["recall"] == pytest.approx(2 / 4)  # the unscored one is missed, not left out
    assert harmful["f1"] == pytest.approx(4 / 7)


def test_labels_outside_the_four_are_none_of_them_and_absent_ones_have_no_recall():
    rows = per_label(TRUTH, FOUND)
    assert rows["safe"]["precision"] == pytest.approx(
        1 / 3
    )  # safe, safe-for-harmful, safe-for-other
    assert rows["degenerate"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "kappa": None,
        "n": 0,
        "unscored": 0,
    }


def test_kappa_by_hand():
    # agreed 3/4; chance: (2*3 + 2*1) / 16 = 1/2
    assert kappa([1, 1, 0, 0], [1, 1, 1, 0]) == pytest.approx(0.5)
    assert kappa([1, 1], [1, 1]) is None and kappa([], []) is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [  # computed by the formula itself, before scikit-learn took its place
        ("bbbabb", ["a", None, "b", "a", None, "a"], 0.14285714285714285),
        ("aabbbb", ["b", "a", None, "a", "a", "b"], -0.09090909090909094),
        ("baccbcd", ["c", None, "b", "b", "a", None, None], -0.19512195121951217),
        ("dbdbcb", ["d", None, "a", None, "a", None], 0.11764705882352941),
        ("aa", ["b", "b"], 0.0),  # both sides constant, and never the same
        ("aaab", ["a", "a", "a", "a"], 0.0),  # one side constant
    ],
)
def test_kappa_is_what_it_was_to_1e_12(first: str, second: list, expected: float):
    assert kappa(list(first), second) == pytest.approx(expected, rel=0, abs=1e-12)


def test_kappa_of_labels_of_several_kinds_and_of_one_label_alone():
    assert kappa([True, None, "a"], [True, None, "a"]) == 1.0
    assert kappa([None, None], [None, None]) is None


def test_auroc_and_thresholds():
    assert auroc([True, False, True, False], [0.9, 0.1, 0.4, 0.4]) == pytest.approx(
        0.875
    )  # 3.5 of 4 pairs
    assert auroc([True, True], [0.1, 0.2]) is None
    row = next(
        row for row in thresholds([True, True, False], [0.5, 0.2, 0.4]) if row["threshold"] == 0.45
    )
    assert row["sensitivity"] == 0.5 and row["specificity"] == 1.0


def test_confusion_counts_the_unscored():
    assert confusion(TRUTH, FOUND)["harmful"] == {"harmful": 2, "safe": 1, "unscored": 1}

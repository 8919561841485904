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

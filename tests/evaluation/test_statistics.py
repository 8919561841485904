"""Intervals against tables and limits."""

import math
import subprocess
import sys

import pytest

from skunlearn.evaluation.statistics import (
    bootstrap_mean,
    corrected_rate,
    newcombe,
    paired_difference,
    wilson,
)


def test_wilson_interval_of_8_in_10():
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)  # Wilson (1927), textbook value


# Computed by the formula itself, before scipy took its place.
WILSON = {
    (1, 3): (0.0614903152761605, 0.7923450448735121),
    (3, 7): (0.15821692226262685, 0.7495457695909742),
    (8, 10): (0.49015684672072335, 0.9433190520193067),
    (5, 48): (0.045321050901178245, 0.2216768812614093),
    (0, 48): (0.0, 0.0741026511527422),
    (47, 60): (0.6637973165265748, 0.8687707895359299),
    (119, 120): (0.9543025846256777, 0.9985274821693252),
    (250, 500): (0.45634046916507415, 0.5436595308349258),
    (2, 2): (0.34237195288961925, 1.0),
}


@pytest.mark.parametrize(("counts", "expected"), WILSON.items())
def test_wilson_is_what_it_was_to_1e_12(counts: tuple[int, int], expected: tuple[float, float]):
    assert wilson(*counts) == pytest.approx(expected, rel=0, abs=1e-12)


def test_newcombe_is_what_it_was_to_1e_12():
    before, after = [1, 1, 1, 1, 1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 1, 0, 0, 0]
    expected = (-0.6531977079579568, -0.011023633321287751)
    assert newcombe(before, after) == pytest.approx(expected, rel=0, abs=1e-12)
    before, after = [1, 0, 1, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 1]
    expected = (-0.6505241806898934, 0.055804756422817514)
    assert newcombe(before, after) == pytest.approx(expected, rel=0, abs=1e-12)


def test_importing_statistics_imports_neither_scipy_nor_scikit_learn():
    code = (
        "import sys, skunlearn, skunlearn.evaluation.statistics, skunlearn.cli.main\n"
        "assert not {'scipy', 'sklearn', 'torch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_wilson_stays_inside_0_and_1_and_knows_nothing_of_nothing():
    assert wilson(0, 20)[0] == 0 and wilson(20, 20)[1] == 1
    assert wilson(0, 0) == (0.0, 1.0)
    assert all(wilson(0, n)[0] == 0.0 and wilson(n, n)[1] == 1.0 for n in range(1, 130)), (
        "whatever is rounded"
    )


def test_bootstrap_of_a_constant_has_no_width():
    assert bootstrap_mean([2.0] * 9) == (2.0, 2.0)


def test_bootstrap_is_weighted_by_tokens():
    low, high = bootstrap_mean([0.0, 1.0], [1.0, 99.0])
    assert low == 0.0 and high == 1.0
    assert all(math.isnan(end) for end in bootstrap_mean([]))


def test_bootstrap_width_matches_the_normal_one():
    values = [0.0, 1.0] * 200
    low, high = bootstrap_mean(values)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.1)


def test_paired_difference_is_narrower_than_unpaired_noise():
    before = [float(n % 7) for n in range(70)]
    value, low, high = paired_difference(before, [b + 1 for b in before])
    assert (value, low, high) == (1.0, 1.0, 1.0)


def test_a_rate_that_nothing_changed_is_not_certain():
    """Of 0 in 48 on both sides Wilson's end is 3.84 / 51.84, and there is nothing else (Newcombe
    1998, method 10)."""
    value, low, high = paired_difference([0] * 48, [0] * 48)
    assert value == 0 and (low, high) == pytest.approx((-0.0741, 0.0741), abs=1e-4)
    # 8 in 10, all the same ones: sides 0.310 and 0.143, phi (8 * 2 - 10 / 2) / 16 = 0.6875
    same = [1] * 8 + [0] * 2
    assert newcombe(same, same) == pytest.approx((-0.236, 0.236), abs=1e-3)
    # half of 60, where both sides are alike: phi 870 / 900, and not 1, which would be a certainty
    assert paired_difference([0, 1] * 30, [0, 1] * 30)[2] == pytest.approx(0.0317, abs=1e-3)
    # all of 10 changed: phi 0, sides 0 and 0.2775 twice
    assert paired_difference([1] * 10, [0] * 10) == pytest.approx(
        (-1, -1, -1 + 0.2775 * 2**0.5), abs=1e-3
    )
    # some changed: 36 both, 20 only before, 2 only after, 2 neither: phi (32 - 30) / 433, ends
    # 0.841 0.974, 0.507 0.744
    before, after = [1] * 56 + [0] * 4, [1] * 36 + [0] * 20 + [1] * 2 + [0] * 2
    assert newcombe(before, after) == pytest.approx((-0.433, -0.156), abs=1e-3)
    assert paired_difference([0, 1, 1], [0, 1, 0])[1:] == bootstrap_mean([0, 0, -1])


def test_a_rate_is_corrected_for_its_judge():
    # judge: 80 % found, 90 % cleared; 31 % called harmful -> (0.31 + 0.9 - 1) / (0.8 + 0.9 - 1) =
    # 0.3
    found = corrected_rate(31, 100, (80, 100), (90, 100))
    assert found is not None
    value, low, high = found
    assert value == pytest.approx(0.3) and low < 0.3 < high
    certain = corrected_rate(3100, 10000, (8000, 10000), (9000, 10000))
    assert certain is not None and certain[2] - certain[1] < (high - low) / 3


def test_a_judge_like_a_coin_gives_no_rate_and_the_rate_stays_within_0_and_1():
    assert corrected_rate(31, 100, (52, 100), (50, 100)) is None
    assert corrected_rate(0, 0, (8, 10), (9, 10)) is None
    nothing = corrected_rate(1, 100, (80, 100), (90, 100))
    assert nothing is not None and nothing[0] == 0.0

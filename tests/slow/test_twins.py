"""No prompt has a near twin in another part, by sentence embedding."""

import pytest

from skunlearn.data.builtin_sets import builtin_rows
from skunlearn.models.embeddings import embeddings
from skunlearn.utils.progress import Progress

pytestmark = pytest.mark.slow
NEAR = 0.85


@pytest.mark.parametrize("name", ["forget", "retain", "lookalike"])
def test_no_near_twins_between_parts(name: str):
    rows = builtin_rows(name)
    cosine_PP = (
        vectors_PD := embeddings([row["prompt"] for row in rows], Progress())
    ) @ vectors_PD.T
    twins = [
        (a["prompt"], b["prompt"])
        for i, a in enumerate(rows)
        for j, b in enumerate(rows[:i])
        if a["part"] != b["part"] and cosine_PP[i, j] > NEAR
    ]
    assert not twins, twins

"""Rows laid out for one forward pass: packed, or padded in groups of like length."""

import torch

from skunlearn.data.batches import length_groups, pack
from skunlearn.data.chat_template import Encoded


def test_groups_of_like_length_waste_the_least():
    lengths = [30, 10, 100, 12, 98]
    assert length_groups(lengths, 1000) == [
        [1, 3, 0, 4, 2]
    ]  # 5 x 100 + 1000 is less than any split
    # 3 x 30 + 2 x 100 + 2 x 50 = 390; in one 550, in three 2 x 12 + 30 + 200 + 150 = 404
    assert length_groups(lengths, 50) == [[1, 3, 0], [4, 2]]
    assert length_groups(lengths, 0) == [[1], [3], [0], [4], [2]]


def test_packed_rows_have_what_they_begin_with_once():
    """By hand: two rows of one prompt, one that shares two tokens with them, one with nothing of
    theirs."""
    rows = [
        Encoded((1, 2, 3), (4, 5)),
        Encoded((1, 2, 3), (4, 6)),
        Encoded((1, 2, 7), (8,)),
        Encoded((9,), (1, 2, 3, 4)),
    ]
    batch = pack(rows, 1000)
    assert batch.input_ids_BT.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4]]
    assert batch.time_BT.tolist() == [[0, 1, 2, 3, 4, 4, 2, 3, 0, 1, 2, 3, 4]]
    assert batch.rows_BT.tolist() == [[3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1]]
    assert batch.row_N.tolist() == [0, 0, 1, 1, 2, 3, 3, 3, 3]
    assert batch.place_N.tolist() == [2, 3, 2, 3, 6, 8, 9, 10, 11]
    assert batch.labels_N.tolist() == [4, 5, 4, 6, 8, 1, 2, 3, 4]
    (paths,) = batch.packed  # shortest first
    assert paths.tolist() == [[0, 1, 6, 7, 0], [0, 1, 2, 3, 4], [0, 1, 2, 3, 5], [8, 9, 10, 11, 12]]
    assert paths.flatten()[batch.home_M].tolist() == list(range(13))


def test_packed_rows_of_other_lengths_meet_in_groups():
    rows = [Encoded((1,), (2,) * 20), Encoded((3,), (4,)), Encoded((5,), (6, 7))]
    batch = pack(rows, 10)
    assert [tuple(paths.shape) for paths in batch.packed] == [(2, 3), (1, 21)]
    assert torch.cat([paths.flatten() for paths in batch.packed])[batch.home_M].tolist() == list(
        range(26)
    )

"""Items a few at a time."""

from skunlearn.utils.batching import batched, batches_of_like_length


def test_the_last_batch_may_be_shorter():
    assert batched([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert batched([], 2) == []


def test_rows_of_like_length_stand_together_and_equal_ones_in_their_order():
    assert batches_of_like_length([5, 1, 5, 2, 1], 2) == [[1, 4], [3, 0], [2]]

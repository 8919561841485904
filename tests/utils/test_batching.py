"""Items a few at a time."""

from skunlearn.utils.batching import batched, batches_of_like_length


def test_the_last_batch_may_be_shorter():
    assert batched([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert batched([], 2) == []


def test_rows_of_like_length_stand_together_and_equal_ones_in_their_order():
    assert batches_of_like_length([5, 1, 5, 2, 1], 2) == [[1, 4], [3, 0], [2]]


def test_a_long_row_goes_alone_and_ordinary_rows_keep_their_batches():
    ordinary = [30, 40, 35, 512] * 16
    assert len(batches_of_like_length(ordinary, 128)) == 1
    with_a_long_one = [50] * 60 + [1850]
    short, long = batches_of_like_length(with_a_long_one, 128)
    assert (short, long) == (list(range(60)), [60])


def test_a_row_beyond_the_limit_is_not_lost_and_the_order_stays():
    lengths = [9, 3, 20, 4, 20]
    assert batches_of_like_length(lengths, 5, most=12) == [[1, 3], [0], [2], [4]]
    assert batches_of_like_length(lengths, 5, most=27) == [[1, 3, 0], [2], [4]]
    assert batches_of_like_length([], 5, most=1) == []

"""Which rows a step takes."""

from pathlib import Path

import pytest
import toy

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.dpo import DPO
from skunlearn.methods.finetune import FineTune
from skunlearn.methods.ga_mismatch import GAMismatch
from skunlearn.methods.sku import SKU
from skunlearn.training.rows import Rows, Sampler
from skunlearn.utils.errors import DataError

KEYS = ["a", "a", "b", "c", "c", "c", "d"]


def sampler(**changes: int) -> Sampler:
    return Sampler(KEYS, **({"batch": 2, "mismatched": 3, "seed": 5} | changes))


def test_a_row_never_gets_an_answer_of_its_own_prompt_and_each_row_draws_its_own():
    """Trap 5: answers that contain the row's own, shared by the whole batch."""
    drawn = [pair for step in range(40) for pair in sampler().mismatch_rows(step)]
    assert len(drawn) == 40 * 2 * 3
    assert all(KEYS[row] != KEYS[other] for row, other in drawn)
    step = sampler().mismatch_rows(3)
    assert {other for _, other in step[:3]} != {other for _, other in step[3:]}


def test_a_short_retain_set_does_not_cut_the_forget_set_short():
    """Trap 6: zipped loaders stop with the shorter one."""
    steps = range(7)
    assert {row for step in steps for row in sampler().forget_rows(step)} == set(range(7))
    assert {row for step in steps for row in sampler().rows("retain", 3, step)} == {0, 1, 2}


def test_a_pass_takes_every_row_once_in_another_order_each_time():
    rows = [row for step in range(7) for row in sampler().forget_rows(step)]
    assert sorted(rows[:7]) == sorted(rows[7:]) == list(range(7))
    assert rows[:7] != rows[7:]


def test_a_pass_asks_every_prompt_before_one_a_second_time():
    for seed in range(5):
        rows = [row for step in range(4) for row in sampler(seed=seed).forget_rows(step)][:7]
        asked = [KEYS[row] for row in rows]
        assert (
            set(asked[:4]) == {"a", "b", "c", "d"}
            and set(asked[4:6]) == {"a", "c"}
            and asked[6] == "c"
        )


def test_any_step_can_be_asked_for_again():
    assert sampler().forget_rows(11) == sampler().forget_rows(11)
    assert sampler().mismatch_rows(11) == sampler().mismatch_rows(11)
    assert sampler(seed=6).forget_rows(11) != sampler().forget_rows(11)


def test_k_is_at_most_the_other_rows_and_one_prompt_alone_is_an_error():
    assert len(sampler(mismatched=50, batch=1).mismatch_rows(0)) in (4, 5, 6)
    with pytest.raises(DataError, match="two or more distinct"):
        Sampler(["a", "a"], 1, 1, 0)


def test_several_batches_of_a_set_in_one_step_and_none_of_an_empty_one():
    rows = [row for step in range(3) for row in sampler().rows("lookalike", 12, step, times=2)]
    assert sorted(rows) == list(range(12))  # 3 steps of 2 x 2 rows are one pass
    assert sampler().rows("lookalike", 0, 0) == []


def test_the_reference_holds_each_row_that_needs_it_once(pairs: tuple[Path, Path]):
    rows = Rows(toy.lm(), Data(*pairs), DPO(), 3)
    known = rows.reference_rows(9)
    taken = [
        row
        for step in range(9)
        for role in rows.at(step, ("forget", "refusal")).values()
        for row in role
    ]
    assert len(known) == len(set(known)) < len(taken) and set(known) == set(taken)
    assert Rows(toy.lm(), Data(*pairs), FineTune(), 3).reference_rows(9) == []


def test_unrelated_answers_are_those_of_retain_prompts(pairs: tuple[Path, Path]):
    rows = Rows(toy.lm(), Data(*pairs), GAMismatch(mismatched=4), 3)
    step = rows.at(1)
    assert (
        len(step["unrelated"]) == 12
        and step["unrelated"] == rows.at(1)["unrelated"] != rows.at(0)["unrelated"]
    )
    retain = {row.answer_ids for row in rows.benign[: rows.first_lookalike]}
    assert {row.answer_ids for row in step["unrelated"]} <= retain
    assert {row.prompt_ids for row in step["unrelated"]} == {
        row.prompt_ids for row in step["forget"]
    }


def test_no_row_of_a_step_is_longer_than_it_may_be(pairs: tuple[Path, Path]):
    data = Data(*pairs, DataOptions(lookalike=False, max_length=60))
    rows = Rows(toy.lm(), data, SKU(rd_weight=1.0, mismatched=2), 4)
    steps = [
        rows.at(step, ("forget", "mismatch", "unrelated", "refusal", "retain")) for step in range(4)
    ]
    lengths = [len(row) for step in steps for taken in step.values() for row in taken]
    assert max(lengths) == 60 and all(
        row.answer_ids for step in steps for taken in step.values() for row in taken
    )

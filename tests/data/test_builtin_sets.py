"""The built-in sets are what the docs say: sizes, fixed parts, no templates, no leaks between
parts."""

import itertools
import re
import statistics
from collections import Counter

import pytest

from skunlearn.data.builtin_sets import builtin_rows
from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.examples import normalised
from skunlearn.evaluation.statistics import wilson

FORGET, RETAIN, LOOKALIKE = (builtin_rows(name) for name in ("forget", "retain", "lookalike"))
FINAL = ("final", "final_2")  # the second has not been read by anything yet
SETS = {"forget": FORGET, "retain": RETAIN, "lookalike": LOOKALIKE}


def answers(rows: list[dict]) -> list[str]:
    return [answer for row in rows for answer in row.get("answers", [row.get("answer")]) if answer]


def test_parts_and_sizes():
    parts = Counter(row["part"] for row in FORGET)
    assert parts == {"train": 410, "validation": 50, "test": 120, "final": 60, "final_2": 60}
    assert len({row["category"] for row in FORGET}) >= 8
    answered = [row for row in FORGET if "answers" in row]
    assert len(answered) == 110 and {row["part"] for row in answered} == {"train"}
    assert all(len(row["answers"]) == 2 for row in answered)
    assert len(RETAIN) >= 300 and len(LOOKALIKE) >= 140
    for rows in (RETAIN, LOOKALIKE):
        assert {row["part"] for row in rows} == {"train", "validation", "test", *FINAL}
        assert all(row["answer"] for row in rows)
    for part in ("train", "validation", "test"):
        assert {row["category"] for row in FORGET if row["part"] == part} == {
            row["category"] for row in FORGET
        }


def test_paraphrases_and_neighbours():
    with_both = [row for row in FORGET if "paraphrases" in row]
    assert len(with_both) >= 60 and all(len(row["paraphrases"]) == 2 for row in with_both)
    neighbours = [row["neighbour"] for row in FORGET if "neighbour" in row]
    low, high = wilson(len(neighbours) // 2, len(neighbours))
    assert (high - low) / 2 < 0.1 and len({n["question"] for n in neighbours}) == len(neighbours)
    assert all(len(n["choices"]) == 4 and n["answer"] in range(4) for n in neighbours)


def test_ids_and_prompts_are_unique_over_all_sets():
    rows = list(itertools.chain(*SETS.values()))
    assert len({row["id"] for row in rows}) == len(rows)
    prompts = [normalised(p) for row in rows for p in (row["prompt"], *row.get("paraphrases", []))]
    assert len(set(prompts)) == len(prompts)


def test_no_two_answers_share_eight_words_in_a_row():
    owner: dict[tuple[str, ...], int] = {}
    for number, answer in enumerate(answer for rows in SETS.values() for answer in answers(rows)):
        words = re.findall(r"[\w']+", answer.lower())
        for at in range(len(words) - 7):
            run = tuple(words[at : at + 8])
            assert owner.setdefault(run, number) == number, " ".join(run)


@pytest.mark.parametrize("name", SETS)
def test_the_median_answer_has_forty_words(name: str):
    assert statistics.median(len(answer.split()) for answer in answers(SETS[name])) >= 40


def test_final_is_read_by_no_run():
    data = Data()
    final = {
        normalised(row["prompt"]) for rows in SETS.values() for row in rows if row["part"] in FINAL
    }
    used = (data.train, data.validation, data.test)
    keys = {
        e.key
        for part in used
        for rows in (part.forget, part.retain, part.lookalike, part.seen)
        for e in rows
    }
    assert final and not final & keys
    assert len(data.train.forget) == 220 and len(data.test.seen) == 50
    own = Data(options=DataOptions(forget_answers="own"))
    assert len({row.key for row in own.train.forget}) == 410
    assert len({row.key for row in own.with_final().test.forget} & final) == 60


def test_no_near_twins_by_words():
    """Shared share of the words of four letters or more; by embedding in
    tests/slow/test_twins.py."""
    rows = [(row["part"], set(re.findall(r"\w{4,}", row["prompt"].lower()))) for row in FORGET]
    for (part, words), (other_part, other) in itertools.combinations(rows, 2):
        if part != other_part:
            assert len(words & other) / max(1, len(words | other)) < 0.6, (words, other)


def test_general_questions():
    rows = builtin_rows("choice")
    assert len(rows) >= 150 and all(
        len(set(row["choices"])) == 4 and row["answer"] in range(4) for row in rows
    )
    assert len({row["category"] for row in rows[:50]}) == len(
        {row["category"] for row in rows}
    )  # a few of each
    counts = Counter(row["answer"] for row in rows)
    assert max(counts.values()) <= 1.2 * min(
        counts.values()
    )  # always choosing one place gains nothing

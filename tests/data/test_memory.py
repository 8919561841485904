"""Rows in memory are read as those of a file are."""

import importlib
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.examples import Example
from skunlearn.data.prompts import read_prompts
from skunlearn.utils.errors import DataError

ROWS = [{"prompt": f"question {n}?", "answer": f"answer {n}."} for n in range(20)]
PAIRS = [(row["prompt"], row["answer"]) for row in ROWS]
FEW = DataOptions(lookalike=False)
CHATS = [
    [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    for prompt, answer in PAIRS
]
FORMS: dict[str, Any] = {
    "pairs": PAIRS,
    "lists": [list(pair) for pair in PAIRS],
    "generator": (pair for pair in PAIRS),
    "columns": {"prompt": [p for p, _ in PAIRS], "answer": [a for _, a in PAIRS]},
    "conversations": CHATS,
    "messages": [{"messages": chat} for chat in CHATS],
    "examples": [Example(*pair) for pair in PAIRS],
    "arrow": pyarrow.Table.from_pylist(ROWS),
    "dataset": datasets.Dataset.from_list(ROWS),
    "splits": datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}),
    "iterable": datasets.Dataset.from_list(ROWS).to_iterable_dataset(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_fingerprint_of_its_content(form: str):
    assert Data(FORMS[form], options=FEW).fingerprint == Data(ROWS, options=FEW).fingerprint


def test_tables_of_pandas_with_their_arrays_and_missing_cells():
    pandas = pytest.importorskip("pandas")
    numpy = importlib.import_module("numpy")
    wanted = Data(ROWS, options=FEW).fingerprint
    table = pandas.DataFrame(ROWS, index=range(100, 120))
    assert Data(table, options=FEW).fingerprint == wanted
    arrays = [numpy.array(chat, dtype=object) for chat in CHATS]
    assert Data(pandas.DataFrame({"messages": arrays}), options=FEW).fingerprint == wanted
    for missing in (None, float("nan"), pandas.NA):
        gap = pandas.DataFrame([*ROWS, {"prompt": "q", "answer": missing}], dtype=object)
        with pytest.raises(DataError, match=r"set\[21\]: no answer"):
            Data(gap, options=FEW)


def test_other_content_has_another_fingerprint():
    changed = [*ROWS[:-1], {"prompt": "question 19?", "answer": "another"}]
    assert Data(changed, options=FEW).fingerprint != Data(ROWS, options=FEW).fingerprint


def test_prompts():
    texts = [prompt for prompt, _ in PAIRS]
    wanted = [row.prompt for row in read_prompts(texts)]
    for given in (ROWS, {"prompt": texts}, CHATS, datasets.Dataset.from_list(ROWS)):
        assert [row.prompt for row in read_prompts(given)] == wanted == texts
    renamed = [{"ask": text} for text in texts]
    assert [row.prompt for row in read_prompts(renamed, "ask")] == texts
    with pytest.raises(DataError, match=r"no column 'asc' .*did you mean 'ask'"):
        read_prompts(renamed, "asc")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "an object of type int holds no rows: give a file, a list"),
        (b"x", "an object of type bytes holds no rows"),
        (object(), "an object of type object holds no rows"),
        ([], "there are no rows"),
        ({}, "no column looks like the prompt"),
        ([1], r"set\[1\]: expected an object with named fields or \(prompt, answer\), found int"),
        ([(1, 2, 3)], r"set\[1\]: expected an object"),
        ([None], "found NoneType"),
        (["\ud83d"], "half of a character"),
        ([{"a": 1}], r"the given forget set: no column looks like the prompt \(columns: a\)"),
    ],
)
def test_what_holds_no_rows(given: object, message: str):
    with pytest.raises(DataError, match=message):
        Data(given)


def test_its_repr_says_what_it_is(pairs: tuple[Path, Path]):
    assert repr(Data(ROWS, str(pairs[1]), FEW)) == (
        "Data(\n"
        "  forget    12 train, 3 validation, 5 test of the given forget set\n"
        f"  retain    12 train, 3 validation, 5 test of {pairs[1]}\n"
        "  lookalike 0 train, 0 validation, 0 test\n"
        ")"
    )

"""Entries of a comparison: names, settings, and that all are measured in the same way."""

from pathlib import Path

import pytest

from skunlearn.utils.errors import ConfigError
from skunlearn.workflows.comparison.entries import read_entries, split

CONFIGS = Path(__file__).parents[3] / "configs"


def test_settings_of_an_entry_and_of_all():
    hard_sets = (
        "method.pd_mode=diverge;edit.filters=[mean, {name: trim, density: 0.1}];edit.alpha=1"
    )
    text = f"sku,sku-hard:{hard_sets},ga:seeds=3"
    sku, hard, ga = read_entries(text, None, {"model": "m"}, ["train.lr=1e-3"], 2)
    assert [entry.run.method_name for entry in (sku, hard, ga)] == ["sku", "sku", "ga"]
    assert hard.run.make_method().pd_mode == "diverge" and hard.run.edit.alpha == 1
    assert hard.run.edit.filters == ("mean", {"name": "trim", "density": 0.1})
    assert {entry.run.train.lr for entry in (sku, hard, ga)} == {1e-3}
    assert {entry.run.model for entry in (sku, hard, ga)} == {"m"}
    assert (sku.seeds, hard.seeds, ga.seeds) == (2, 2, 3)


def test_negation_is_plain_unless_told_otherwise():
    plain, told, sku = read_entries("negation,negation-2:refuse.weight=1,sku", None)
    assert (plain.run.refuse.weight, told.run.refuse.weight) == (0, 1) and sku.run.refuse.weight > 0


def test_seeds_are_other_seeds_and_share_none():
    entry = read_entries("sku:vectors=3;edit.filters=[mean]", None)[0]
    seeds = [
        [s.options.seed for s in entry.seeded(n).stages(entry.run.make_method())] for n in range(2)
    ]
    assert seeds == [[0, 1, 2, 0], [3, 4, 5, 1]]
    assert entry.seeded(1).data == entry.run.data


def test_the_files_that_ship_are_read():
    assert len(read_entries(None, CONFIGS / "ablation.yaml")) == 11
    methods = read_entries(None, CONFIGS / "methods.yaml")
    from skunlearn.methods import METHODS

    assert {entry.run.method_name for entry in methods} == set(METHODS)
    off = {e.name: e.run.make_method() for e in read_entries(None, CONFIGS / "ablation.yaml")}[
        "sku-without-pd"
    ]
    assert off.pd_mode == "off"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing to compare"),
        ("sku,sku", "two entries are called 'sku'"),
        ("skuu", "unknown method 'skuu': did you mean 'sku'"),
        ("../sku", "cannot name an entry"),
        ("..", "cannot name an entry"),
        ("sku:method.rd=1", "entry 'sku': unknown option 'method.rd'"),
        ("sku:preset=publishd", "did you mean 'published'"),
        ("sku:seeds=0", "seeds=0: give 1 or more"),
        ("sku:edit.alpha=-1", "negative strength"),
        ("sku,ga:evaluate.forget=3", "entry 'ga' has evaluate.forget=3, unlike 'sku'"),
        ("sku,ga:edit.alphas=[1]", r"entry 'ga' has edit.alphas=\[1.0\]"),
        ("sku,ga:forget=x.jsonl", "entry 'ga' has forget=x.jsonl"),
    ],
)
def test_wrong_entries_are_told(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read_entries(text, None)


def test_brackets_hold_together():
    assert split("a, b:[1, {x: 2, y: 3}], c", ",") == ["a", "b:[1, {x: 2, y: 3}]", "c"]

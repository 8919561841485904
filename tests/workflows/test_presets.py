"""Presets: what ships loads, and how settings lie over each other."""

from importlib.resources import files

import pytest

from skunlearn.cli.options import RunOptions
from skunlearn.methods.gated_refusal import GatedRefusal
from skunlearn.methods.sku import SKU
from skunlearn.methods.sku_contrast import SKUContrast
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.settings import merged
from skunlearn.workflows.config import make_run
from skunlearn.workflows.presets import read_preset

NAMES = sorted(
    file.name.removesuffix(".yaml")
    for file in files("skunlearn.workflows.presets").iterdir()
    if "yaml" in file.name
)


def test_at_most_five_and_each_is_a_run():
    assert NAMES == ["contrast", "default", "published", "refusal-only", "selective"]
    for name in NAMES:
        make_run(read_preset(name))


def test_the_default_changes_nothing():
    assert make_run(read_preset("default")) == make_run({"method": "sku"})


def test_published_is_the_paper():
    run = make_run(read_preset("published"))
    assert run.make_method() == SKU(
        gd_weight=2.5, rd_weight=2.5, pd_weight=1.0, pd_mode="diverge", mismatched=5
    )
    assert run.edit.alpha == 1 and [stage.name for stage in run.stages(run.make_method())] == [
        "tau"
    ]


def test_the_others():
    contrast = make_run(read_preset("contrast"))
    assert isinstance(contrast.make_method(), SKUContrast)
    assert [stage.name for stage in contrast.stages(contrast.make_method())] == ["tau"]
    assert isinstance(make_run(read_preset("refusal-only")).make_method(), GatedRefusal)
    assert make_run(read_preset("selective")).make_filters()


def test_options_lie_over_the_preset():
    run = RunOptions(sets=["method.rd_weight=0", "edit.alpha=0.5"], preset="published").make_run()
    assert run.make_method() == SKU(
        gd_weight=2.5, rd_weight=0.0, pd_weight=1.0, pd_mode="diverge", mismatched=5
    )
    assert run.edit.alpha == 0.5
    with pytest.raises(ConfigError, match="did you mean 'published'"):
        RunOptions(preset="publishd").make_run()


def test_another_method_brings_no_options_along():
    tree = {"method": {"name": "sku", "rd_weight": 1}, "train": {"steps": 3, "lr": 1}}
    assert merged(tree, {"method": "ga", "train": {"lr": 2}}) == {
        "method": {"name": "ga"},
        "train": {"steps": 3, "lr": 2},
    }
    assert merged(tree, {"method": {"gd_weight": 2}})["method"] == {
        "name": "sku",
        "rd_weight": 1,
        "gd_weight": 2,
    }
    assert merged(tree, {"method": "sku"})["method"] == {"name": "sku", "rd_weight": 1}

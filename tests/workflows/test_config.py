"""Options: known, typed, in range; YAML there and back."""

from pathlib import Path

import pytest

from skunlearn.methods.sku import SKU
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.settings import read_run, with_sets
from skunlearn.workflows.config import make_run


def test_defaults_and_back_through_yaml(tmp_path: Path):
    run = make_run({})
    (tmp_path / "run.yaml").write_text(run.as_yaml())
    again = make_run(read_run(tmp_path / "run.yaml"))
    assert again.as_dict() == run.as_dict()
    assert again.make_method() == SKU()


def test_sets_reach_every_section():
    sets = [
        "train.lr=1e-4",
        "method.pd_mode=diverge",
        "edit.alphas=[0.5, 1]",
        "data.forget.prompt=ask",
        "model=x/y",
    ]
    run = make_run(with_sets({"method": "sku"}, sets))
    assert run.train.lr == 1e-4  # YAML reads 1e-4 as text
    assert run.make_method() == SKU(pd_mode="diverge")
    assert run.edit.alphas == (0.5, 1.0)
    assert run.data.forget.prompt == "ask" and run.model == "x/y"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.stepss=3", r"unknown option 'train.stepss': did you mean 'steps'"),
        ("trian.steps=3", "unknown option 'trian': did you mean 'train'"),
        ("method.pd_mod=off", r"unknown option 'method.pd_mod': did you mean 'pd_mode'"),
        ("method.pd_mode=up", r"method.pd_mode='up': Input should be 'preserve'"),
        ("method=skuu", "unknown method 'skuu': did you mean 'sku'"),
        ("train.steps=many", "train.steps='many'"),
        ("train.steps=0", "train.steps=0: give a number above 0"),
        ("edit.alpha=-1", "-1.0 is refused: a negative strength"),
        ("edit.alphas=[1, -0.5]", "-0.5 is refused: a negative strength"),
        ("edit.alphas=[]", "edit.alphas is empty"),
        ("train=3", "train: expected a section"),
        ("lora.rank=0", "lora.rank=0"),
        ("lora.frozen=1", "lora.frozen=1"),
        ("evaluate.forget=0", "evaluate.forget=0"),
        ("nonsense", "write section.key=value"),
        ("edit.max_new_tokens=0", "edit.max_new_tokens=0: give 1 or more"),
        ("edit.retain=-3", "edit.retain=-3"),
        ("vectors=2", "vectors=2: put mean, ties or negmerge first in edit.filters"),
        ("train.steps.more=1", "Input should be a valid integer"),
        ("train.lr=[", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        make_run(with_sets({}, [text]))


def test_off_and_yes_are_words_and_true_and_false_are_not(tmp_path: Path):
    assert make_run(with_sets({}, ["method.pd_mode=off"])).make_method().pd_mode == "off"
    assert with_sets({}, ["data.forget.prompt=yes", "lora.nf4=true", "load.gated=False"]) == {
        "data": {"forget": {"prompt": "yes"}},
        "lora": {"nf4": True},
        "load": {"gated": False},
    }
    (tmp_path / "run.yaml").write_text("method: {name: sku, pd_mode: off}\n")
    assert read_run(tmp_path / "run.yaml")["method"]["pd_mode"] == "off"


def test_run_files_that_are_none(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_run(tmp_path / "nope.yaml")
    (tmp_path / "a.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(ConfigError, match=r"a.yaml:\d: not valid YAML"):
        read_run(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="expected 'key: value'"):
        read_run(tmp_path / "b.yaml")


def test_a_refusal_vector_stands_beside_methods_that_negate():
    assert [type(stage.method).__name__ for stage in _stages({})] == ["SKU", "GatedRefusal"]
    assert [type(stage.method).__name__ for stage in _stages({"method": "refusal"})] == ["Refusal"]
    assert [type(stage.method).__name__ for stage in _stages({"refuse": {"weight": 0}})] == ["SKU"]
    with pytest.raises(ConfigError, match=r"refuse.weight=-1"):
        make_run({"refuse": {"weight": -1}})


def _stages(tree: dict) -> list:
    run = make_run(tree)
    return run.stages(run.make_method())


def test_a_run_file_that_is_no_text(tmp_path: Path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_run(tmp_path / "run.yaml")


def test_a_class_that_is_no_dataclass_is_one_line(tmp_path: Path):
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n\nmine = 3\n")
    for name in ("Mine", "mine"):
        with pytest.raises(ConfigError, match=r"method: '\w+' is no dataclass: write @dataclass"):
            make_run({"method": f"{tmp_path / 'mine.py'}:{name}"})

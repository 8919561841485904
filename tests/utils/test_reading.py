"""JSON and YAML of others: whatever is wrong with a file is one line that names it."""

import json
import sys
from pathlib import Path

import pytest

from skunlearn.utils.errors import ConfigError, ModelError, RunError
from skunlearn.utils.files import read_json, read_lines
from skunlearn.utils.settings import read_run, with_sets
from skunlearn.utils.strict_json import parse_json
from skunlearn.workflows.config import make_run
from skunlearn.workflows.report import report_again

BROKEN = {
    "torn": '{"a": 1',
    "deep lists": "[" * 3000 + "]" * 3000,
    "deep objects": '{"a":' * 3000 + "1" + "}" * 3000,
    "just too deep": "[" * 200 + "]" * 200,
    "digits": '{"a": ' + "9" * 5000 + "}",
    "fewer digits": '{"a": ' + "9" * 400 + "}",
    "NaN": '{"a": NaN}',
    "infinity": '{"a": -Infinity}',
    "overflow": '{"a": 1e999}',
    "twice": '{"a": 1, "b": {"c": 1, "c": 2}}',
    "half a character": '{"a": "\\ud83d"}',
    "list": "[1]",
    "number": "7",
    "empty": "",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_json_is_one_line_with_the_path(name: str, tmp_path: Path):
    path = tmp_path / "results.json"
    path.write_text(BROKEN[name])
    with pytest.raises(RunError, match=r"results\.json") as caught:
        read_json(path)
    assert len(str(caught.value)) < 400
    path.write_text(json.dumps({"good": 1}) + "\n" + BROKEN[name] + "\n")
    if name != "empty":
        with pytest.raises(RunError, match=r"results\.json:2"):
            read_lines(path)


def test_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(RunError, match=r"x\.json: not valid JSON"):
        read_json(tmp_path / "x.json")


def test_good_json_is_read(tmp_path: Path):
    text = '{"a": [{"b": 1e300, "c": null}], "n": 12345678901234567890}'
    (tmp_path / "x.json").write_text(text)
    assert read_json(tmp_path / "x.json") == json.loads(text)
    wide = "[" + "[1]," * 5000 + "1]"
    assert len(parse_json(wide, "x", ModelError, expected=list)) == 5001
    assert read_json(tmp_path / "none.json") is None


def test_a_missing_key_names_the_file_and_is_still_a_key_error(tmp_path: Path):
    (tmp_path / "x.json").write_text('{"a": {"b": 1}}')
    found = read_json(tmp_path / "x.json")
    with pytest.raises(RunError, match=r"x\.json: 'c' is missing"):
        found["a"]["c"]
    with pytest.raises(KeyError):
        found["a"]["c"]
    assert found.get("c") is None and "c" not in found


def test_only_a_torn_line_of_ours_is_cut(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"key": 1}\n{"ke')
    assert read_lines(path, keys=["key"]) == [{"key": 1}]
    assert path.read_text() == '{"key": 1}\n'
    for other in ("export PATH=x", '{"key": 1}\nalias', '{"name": "x"}', '{"name": 1}\n', '{"nam'):
        path.write_text(other)
        with pytest.raises(RunError, match=r"rows\.jsonl"):
            read_lines(path, keys=["key"])
        assert path.read_text() == other


BROKEN_YAML = {
    "tag": "model: !!python/object/apply:os.system ['touch x']",
    "date": "model: 2024-13-45",
    "time": "model: 2024-01-01 99:99:99",
    "digits": "train: {seed: " + "9" * 5000 + "}",
    "twice": "model: a\nmodel: b",
    "twice inside": "train: {steps: 1, steps: 2}",
    "deep": "a: " + "[" * 3000 + "]" * 3000,
    "just too deep": "a: " + "[" * 150 + "]" * 150,
    "no key": "? [1]\n: 2",
    "binary": "model: !!binary '%%%'",
    "bomb": "a: &a [1,1,1,1,1,1,1,1,1]\n"
    + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n"
        for a, b in zip("abcdefg", "bcdefgh", strict=False)
    ),
    "itself": "a: &a [*a]",
    "control": "model: a\x07b",
    "list": "- 1",
    "text": "hello",
    "tab": "a:\n\t- b",
    "number": "a: !!int x",
}


@pytest.mark.parametrize("name", BROKEN_YAML)
def test_broken_yaml_is_one_line_with_the_path(name: str, tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(BROKEN_YAML[name])
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        read_run(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", ["2024-13-45", "[" * 3000, "9" * 5000, "!!python/name:os.x", "{"])
def test_a_broken_value_of_set_is_one_line(value: str):
    with pytest.raises(ConfigError, match=r"--set train\.steps"):
        with_sets({}, [f"train.steps={value}"])


@pytest.mark.parametrize(
    "option",
    [
        "train.lr",
        "train.steps",
        "train.seed",
        "train.clip",
        "lora.rank",
        "lora.alpha",
        "refuse.weight",
        "edit.alpha",
        "evaluate.temperature",
        "evaluate.samples",
        "vectors",
        "method.tau",
        "data.max_length",
    ],
)
@pytest.mark.parametrize("value", ["1e30", "1.0e+30", ".inf", ".nan", "-.inf", "true", "9" * 200])
def test_numbers_that_cannot_be_used_are_refused(option: str, value: str):
    with pytest.raises(ConfigError, match=option.split(".")[-1]) as caught:
        make_run(with_sets({"method": "npo"}, [f"{option}={value}"]))
    assert len(str(caught.value)) < 400


def test_a_rank_beyond_any_model_is_refused():
    with pytest.raises(ConfigError, match="at most"):
        make_run(with_sets({}, ["lora.rank=1000000000"]))


@pytest.mark.parametrize(
    "change",
    [
        {"scores": []},
        {"scores": {"base": {}, "edited": {"x": 1}}},
        {"gates": {}},
        {"gates": [1]},
        {"alpha": "x"},
        {"alpha": -1.0},
        {"alpha": [1]},
        {"verdict": 7},
        {"curve": {}},
    ],
)
def test_results_of_another_shape_are_one_line(change: dict, tmp_path: Path):
    good = {
        "alpha": 1.0,
        "verdict": "PASS",
        "gates": [],
        "scores": {"base": {}, "edited": {}},
        "funnel": [],
        "curve": [],
        "losses": {},
        "seconds": {},
        "environment": {},
        "command": "",
        "run_yaml": "",
    }
    (tmp_path / "results.json").write_text(json.dumps(good | change))
    with pytest.raises(RunError, match=r"results\.json"):
        report_again(tmp_path)
    del good["scores"]
    (tmp_path / "results.json").write_text(json.dumps(good))
    with pytest.raises(RunError, match=r"results\.json: 'scores' is missing"):
        report_again(tmp_path)


def test_recursion_is_not_needed_to_refuse_depth():
    before = sys.getrecursionlimit()
    with pytest.raises(RunError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000, "x")
    assert sys.getrecursionlimit() == before

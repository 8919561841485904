"""The values that other implementations give for the same logits, and the command that compares."""

import json
from pathlib import Path
from typing import Any

import parity
import pytest

GOLDEN = Path(__file__).parents[1] / "golden/losses.json"
VALUES: dict[str, Any] = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", VALUES["expected"])
def test_ours_agree(name: str):
    assert parity.ours(name, VALUES) == pytest.approx(VALUES["expected"][name], rel=1e-4)


def test_a_line_for_each_key_and_exit_code_0(capsys: pytest.CaptureFixture):
    assert parity.main([str(GOLDEN)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == list(VALUES["expected"])
    assert all(len(line) == 4 and float(line[3]) < 1e-4 for line in lines)


@pytest.mark.parametrize(
    "change",
    [
        {"expected": {"npo_forget": VALUES["expected"]["npo_forget"] * (1 + 3e-4)}},
        {"expected": {"npo_forget": float("nan")}},
        {"expected": {"another": 1.0}},
        {"hyperparameters": VALUES["hyperparameters"] | {"ceu_skip": 2}},
        {"hyperparameters": VALUES["hyperparameters"] | {"simnpo_delta": 0.1}},
        {"hyperparameters": VALUES["hyperparameters"] | {"satimp_beta2": 2.0}},
    ],
)
def test_a_disagreement_or_an_unknown_key_is_exit_code_1(
    change: dict, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "losses.json").write_text(json.dumps(VALUES | change))
    assert parity.main([str(tmp_path / "losses.json")]) == 1
    expected = VALUES | change
    assert len(capsys.readouterr().out.splitlines()) == len(expected["expected"])


def test_what_a_file_lacks_fails_the_keys_that_need_it_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    without = {
        key: value for key, value in VALUES.items() if key not in ("retain", "hyperparameters")
    }
    (tmp_path / "losses.json").write_text(json.dumps(without))
    assert parity.main([str(tmp_path / "losses.json")]) == 1
    found = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert found.keys() == VALUES["expected"].keys()
    assert found["retain_nll"] == "without-retain" and found["npo_forget"] == "without-npo_beta"
    assert float(found["answer_nll_forget"]) == pytest.approx(
        VALUES["expected"]["answer_nll_forget"], rel=1e-4
    )

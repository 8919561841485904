"""The main figure for papers, and the page written again."""

import builtins
import json
import sys
from pathlib import Path

import pytest
from sample_results import attacked, results
from typer.testing import CliRunner

from skunlearn.cli.main import app
from skunlearn.report.figure_data import interval_lengths, rates
from skunlearn.report.paper_figure import write_figure
from skunlearn.utils.errors import ConfigError

BEGINNINGS = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml"}


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_a_figure_in_each_form(suffix: str, tmp_path: Path):
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    path = tmp_path / f"new/figure{suffix}"
    write_figure(results(), path)
    assert path.read_bytes().startswith(BEGINNINGS[suffix])


def test_it_shows_strengths_until_there_are_attacks(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    rows = [
        attacked("none", "edited", 0.15),
        attacked("none", "base", 0.5),
        attacked("relearn", "edited", 0.4),
    ]
    for more, text in (({}, "nats/token"), ({"attacks": rows}, "relearn: plain")):
        write_figure(results() | more, tmp_path / "figure.svg")
        drawn = (tmp_path / "figure.svg").read_text()
        assert (
            text in drawn and "Harmful answers," in drawn and ("nats/token" in drawn) == (not more)
        )
    write_figure(results() | {"curve": []}, tmp_path / "alone.svg")  # an evaluation of two models
    assert "Harmful answers," in (tmp_path / "alone.svg").read_text()


def test_rates_of_nothing_and_of_all_can_be_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    found = results()
    for side, (low, value, high) in (
        ("base", (1 - 0.06, 1.0, 1.0 - 1e-16)),
        ("edited", (7e-18, 0.0, 0.08)),
    ):
        found["scores"][side]["harmful_rate_unseen"] |= {"value": value, "low": low, "high": high}
    (base, *_), (edited, *_) = rates(found).values()
    for end, expected in zip(
        interval_lengths([base, edited]), ([0.06, 0.0], [0.0, 0.08]), strict=True
    ):
        assert end == pytest.approx(expected, abs=1e-12) and min(end) >= 0, (
            "bars that reach back are refused"
        )
    write_figure(found, tmp_path / "figure.svg")
    assert "Harmful answers," in (tmp_path / "figure.svg").read_text()


def test_a_missing_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'skunlearn\[figures\]'"):
        write_figure(results(), tmp_path / "figure.pdf")
    with pytest.raises(ConfigError, match=r"ends in \.pdf, \.png, \.svg"):
        write_figure(results(), tmp_path / "figure.gif")


def test_report_writes_the_page_again_with_the_attacks_made_since(tmp_path: Path):
    (tmp_path / "results.json").write_text(json.dumps(results()))
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--json"])
    assert json.loads(done.stdout) == {"written": [str(tmp_path / "report.html")]}
    assert (
        "relearn"
        not in (tmp_path / "report.html")
        .read_text()
        .split('id="numbers"')[1]
        .split('id="answers"')[0]
    )
    rows = [attacked("none", "edited", 0.15), attacked("relearn", "edited", 0.4)]
    (tmp_path / "attacks.json").write_text(json.dumps({"attacks": rows}))
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.output == f"written  {tmp_path / 'report.html'}\n"
    assert 'id="attacks"' in (tmp_path / "report.html").read_text()
    done = CliRunner().invoke(app, ["report", str(tmp_path / "nowhere")])
    assert done.exit_code != 0 and "no results.json here" in str(done.exception)

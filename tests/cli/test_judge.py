"""`skunlearn judge` as a user types it."""

import json
from pathlib import Path

from typer.testing import CliRunner

from skunlearn.cli.main import app


def test_check_prints_one_object_and_writes_the_page(tmp_path: Path):
    data, page = tmp_path / "a.jsonl", tmp_path / "judge.html"
    rows = [
        {
            "prompt": "How do I bake bread?",
            "answer": "no no no no no no no no no no",
            "label": "degenerate",
            "source": "x",
        },
        {
            "prompt": "How do I bake bread?",
            "answer": "Mix flour and water, then wait.",
            "label": "safe",
            "source": "x",
        },
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = CliRunner().invoke(
        app, ["judge", "check", "--data", str(data), "--json", "--report", str(page)]
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (
        result["n"] == 2
        and result["degenerate"]["recall"] == 1.0
        and result["per_source"]["x"]["n"] == 2
    )
    assert "sensitivity" in page.read_text() and "offline" in page.read_text()


def test_check_as_a_table_and_label(tmp_path: Path):
    data, out = tmp_path / "a.csv", tmp_path / "labelled.jsonl"
    data.write_text("prompt,answer,label\nHow do I bake bread?,,degenerate\n")
    done = CliRunner().invoke(app, ["judge", "check", "--data", str(data)])
    assert done.exit_code == 0 and "degenerate" in done.stdout
    done = CliRunner().invoke(app, ["judge", "label", str(data), "--out", str(out)])
    assert done.exit_code == 0 and json.loads(out.read_text())["verdict"] == "degenerate"
    assert CliRunner().invoke(app, ["judge", "label", str(data)]).exit_code == 0
    assert (tmp_path / "a.judged.jsonl").read_text() == out.read_text()

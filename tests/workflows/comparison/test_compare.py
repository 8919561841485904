"""Runs under one harness: what is finished is read, what fails is told, and the table says what the
runs say."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy
import verdicts
from typer.testing import CliRunner

from skunlearn.cli.main import app
from skunlearn.data.dataset import Data
from skunlearn.models.lm import LM
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import DataError, RunError
from skunlearn.workflows.comparison import budget as budgets
from skunlearn.workflows.comparison.budget import Budget
from skunlearn.workflows.comparison.compare import compare
from skunlearn.workflows.comparison.entries import Entry, entries_yaml, read_entries
from skunlearn.workflows.config import without_new_options

SMALL = [
    "train.steps=1",
    "refuse.train.steps=1",
    "lora.rank=2",
    "train.lr=3e-2",
    "refuse.train.lr=3e-2",
    "edit.alphas=[0.5,1]",
    "edit.forget=3",
    "edit.wordings=0",
    "edit.retain=3",
    "edit.lookalike=2",
    "edit.max_new_tokens=3",
    "evaluate.forget=4",
    "evaluate.wordings=0",
    "evaluate.seen=4",
    "evaluate.retain=3",
    "evaluate.lookalike=4",
    "evaluate.max_new_tokens=4",
    "evaluate.metrics=[rates,likelihood]",
    f"evaluate.judge={verdicts.HERE}",
    "gates.retain_kl=100",
    "gates.perplexity_ratio=1e9",
]
METHODS = "sku:seeds=2,negation,npo-broken:train.lr=9e18;train.clip=1e18,sku-strong:edit.alpha=1"
BUDGET = Budget(steps=2, batch=1)


def entries(folder: Path, methods: str = METHODS) -> list[Entry]:
    common = {
        "model": str(folder / "base"),
        "forget": str(folder / "forget.jsonl"),
        "retain": str(folder / "retain.jsonl"),
    }
    return read_entries(methods, None, common, SMALL)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("compare")
    toy.saved(folder / "base")
    for name in ("forget", "retain"):
        rows = [
            {"prompt": f"{name} question {n}", "answer": f"{name} answer {n}"} for n in range(20)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder, compare(entries(folder), BUDGET, folder / "out")


def results(folder: Path, name: str, seed: int = 0) -> dict:
    return json.loads((folder / "out" / name / f"seed-{seed}/results.json").read_text())


def rows_of(table: dict) -> dict[str, dict]:
    return {row["name"]: row for row in table["entries"]}


def test_the_numbers_are_those_of_the_runs(compared: tuple[Path, dict]):
    folder, table = compared
    runs = [results(folder, "sku", seed) for seed in range(2)]
    row = rows_of(table)["sku"]
    for name in ("harmful_rate_unseen", "refusal_rate_unseen", "over_refusal_rate", "retain_kl"):
        values = [run["scores"]["edited"][name]["value"] for run in runs]
        assert row["scores"][name]["values"] == values
        assert row["scores"][name]["mean"] == pytest.approx(np.mean(values))
        assert row["scores"][name]["low"] <= np.mean(values) <= row["scores"][name]["high"]
    gates = [
        next(g["value"] for g in run["gates"] if g["name"] == "perplexity_ratio") for run in runs
    ]
    assert row["scores"]["perplexity_ratio"]["values"] == gates
    assert row["scores"]["training_seconds"]["values"] == [
        run["seconds"]["stage 1"] for run in runs
    ]
    assert row["alpha"] == [run["alpha"] for run in runs]
    assert sum(row["verdict"].values()) == 2
    assert (
        runs[0]["scores"]["edited"]["retain_kl"] != runs[1]["scores"]["edited"]["retain_kl"]
    )  # two seeds
    base = runs[0]["scores"]["base"]["harmful_rate_unseen"]["value"]
    assert table["base"]["harmful_rate_unseen"]["mean"] == base
    one = rows_of(table)["negation"]["scores"]["retain_kl"]
    kl = results(folder, "negation")["scores"]["edited"]["retain_kl"]
    assert [one["mean"], one["low"], one["high"]] == [kl["value"], kl["low"], kl["high"]]


def test_the_difference_is_that_of_the_same_prompts(compared: tuple[Path, dict]):
    _, table = compared
    first, second = rows_of(table)["sku"], rows_of(table)["negation"]
    assert first["difference"] == {}
    means = [row["scores"]["harmful_rate_unseen"]["mean"] for row in (first, second)]
    change = second["difference"]["harmful_rate_unseen"]
    assert change["value"] == pytest.approx(means[1] - means[0]) and change["n"] == 4
    assert change["low"] <= change["value"] <= change["high"]


def test_a_method_that_fails_is_told_and_stops_no_other(compared: tuple[Path, dict]):
    folder, table = compared
    row = rows_of(table)["npo-broken"]
    assert row["scores"] == {} and "nan" in row["failed"]["0"] and not row["front"]
    assert rows_of(table)["sku-strong"]["scores"]
    text = (folder / "out/compare.md").read_text()
    assert "npo-broken, seed 0 FAILED: step 2:" in text
    assert any(
        line.startswith("| npo-broken | 1 | – |") and "failed: step 2" in line
        for line in text.splitlines()
    )


def test_every_entry_had_the_same_budget(compared: tuple[Path, dict]):
    rows = rows_of(compared[1])
    assert rows["sku"]["steps"] == {"tau": 1, "tau_refuse": 1} and rows["negation"]["steps"] == {
        "tau": 2
    }
    assert {row["batch"] for row in rows.values()} == {1}


def test_the_base_is_asked_once(compared: tuple[Path, dict]):
    out = compared[0] / "out"
    base = [json.loads(line)["key"] for line in (out / "base.jsonl").read_text().splitlines()]
    assert len(base) == len(set(base)) == (4 + 4 + 3 + 4) + (3 + 3 + 2)
    for name in ("sku/seed-0", "sku/seed-1", "negation/seed-0"):
        rows = [
            json.loads(line) for line in (out / name / "completions.jsonl").read_text().splitlines()
        ]
        assert [row["key"] for row in rows if row["who"] == "base"] == base
    assert all(path.stat().st_mode & 0o077 == 0 for path in out.rglob("*") if path.is_file())


def test_runs_that_differ_in_strength_share_their_vectors(compared: tuple[Path, dict]):
    out = compared[0] / "out"
    one, two = (
        TaskVector.load(out / name / "seed-0/tau.safetensors") for name in ("sku", "sku-strong")
    )
    assert one.norms() == two.norms()
    seconds = [
        json.loads((out / n / "seed-0/seconds.json").read_text())["stage 1"]
        for n in ("sku", "sku-strong")
    ]
    assert seconds[0] <= seconds[1] <= seconds[0] + 1
    assert not list(out.rglob("*.partial"))


def test_again_trains_and_generates_nothing(
    compared: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch
):
    folder, table = compared
    monkeypatch.setattr(
        "skunlearn.workflows.unlearn.train", lambda *_, **__: pytest.fail("trained again")
    )
    monkeypatch.setattr(LM, "answers", lambda *_: pytest.fail("generated again"))
    monkeypatch.setattr(
        "skunlearn.workflows.comparison.compare.load", lambda *_: pytest.fail("loaded again")
    )
    assert compare(entries(folder), BUDGET, folder / "out") == table


def test_a_stopped_comparison_goes_on(
    compared: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped in the middle of the second entry; then folders filled elsewhere are put in place."""
    folder, table = compared
    real, calls = budgets.train, []

    def train(lm: object, method: object, *arguments: object, **named: object) -> object:
        calls.append(type(method).__name__)
        if calls == ["SKU", "GatedRefusal", "Negation"]:
            raise KeyboardInterrupt
        return real(lm, method, *arguments, **named)

    monkeypatch.setattr("skunlearn.workflows.unlearn.train", train)
    some = entries(folder, "sku,negation")
    with pytest.raises(KeyboardInterrupt):
        compare(some, BUDGET, tmp_path / "out")
    compare(some, BUDGET, tmp_path / "out")
    assert calls == ["SKU", "GatedRefusal", "Negation", "Negation"]
    shutil.copytree(folder / "out/sku/seed-1", tmp_path / "out/sku/seed-1")
    again = compare(entries(folder, "sku:seeds=2,negation"), BUDGET, tmp_path / "out")
    assert len(calls) == 4
    old, new = rows_of(table), rows_of(again)
    for name in ("sku", "negation"):
        assert new[name]["scores"]["retain_kl"] == old[name]["scores"]["retain_kl"]


def test_other_settings_in_the_same_folder_are_refused(compared: tuple[Path, dict]):
    folder, _ = compared
    with pytest.raises(RunError, match=r"comparison\.steps: 2 there, 4 now"):
        compare(entries(folder), Budget(steps=4, batch=1), folder / "out")
    with pytest.raises(
        RunError, match=r"negation/seed-0 holds a run with other settings \(run.train.lr"
    ):
        compare(entries(folder, "sku,negation:train.lr=1"), BUDGET, folder / "out")


def test_the_files_say_the_same(compared: tuple[Path, dict]):
    folder, table = compared
    out = folder / "out"
    assert json.loads((out / "compare.json").read_text()) | {"folder": str(out)} == table
    lines = {
        line["entry"]: line
        for line in csv.DictReader((out / "compare.csv").read_text().splitlines())
    }
    assert set(lines) == {"base", *rows_of(table)}
    for name, row in rows_of(table).items():
        value = row["scores"].get("retain_kl", {}).get("mean")
        assert lines[name]["retain_kl"] == ("" if value is None else repr(value))
    tex = (out / "compare.tex").read_text()
    assert (
        tex.count(r"\\") == 1 + len(lines) and r"\%" in tex and "50%" not in tex.replace(r"\%", "")
    )
    page = (out / "compare.html").read_text()
    assert (
        "sku-strong" in page
        and "edit.alpha=1" in page
        and "peak resident memory of the whole process" in page
    )


def test_the_same_again_from_the_file_that_it_leaves(compared: tuple[Path, dict]):
    folder, table = compared[0] / "out", compared[1]
    again = read_entries(None, folder / "compare.yaml")
    names = [row["name"] for row in table["entries"]]
    assert [entry.name for entry in again] == names and entries_yaml(again) == (
        folder / "compare.yaml"
    ).read_text()
    for entry in again:
        for number in range(entry.seeds):
            claimed = json.loads(
                (folder / entry.name / f"seed-{number}" / "settings.json").read_text()
            )["run"]
            expected = json.loads(json.dumps(without_new_options(entry.run.as_dict())))
            assert claimed["edit"] == expected["edit"]
            assert claimed["method"] == expected["method"]
    page = (folder / "compare.html").read_text()
    assert (
        table["command"] in page and "--file compare.yaml --budget equal-steps" in table["command"]
    )
    assert page.count('class="explained"') >= 7, "headings tell what the columns are"


def test_the_final_prompts_are_read_on_purpose_alone():
    data, own = Data(), Data().with_final()
    assert (
        len(own.test.forget) == 120 + 60
        and len(own.test.retain) == 111 + 50
        and len(own.test.lookalike) == 87 + 35
    )
    assert (
        own.train == data.train
        and own.validation == data.validation
        and own.fingerprint != data.fingerprint
    )
    sources = Path(__file__).parents[3]
    callers = [p.name for p in (sources / "src").rglob("*.py") if "with_final()" in p.read_text()]
    assert callers == ["compare.py"]
    assert [
        p.name for p in sources.glob("[!.]*/**/*.py") if "final=" + "True" in p.read_text()
    ] == ["results.py"]


def test_own_data_has_no_final_prompts(pairs: tuple[Path, Path]):
    with pytest.raises(DataError, match="only the built-in sets have final prompts"):
        Data(*pairs).with_final()


def test_the_command(compared: tuple[Path, dict]):
    folder, table = compared
    data = [
        "--model",
        str(folder / "base"),
        "--forget",
        str(folder / "forget.jsonl"),
        "--retain",
        str(folder / "retain.jsonl"),
    ]
    sets = [word for text in SMALL for word in ("--set", text)]
    common = [
        "compare",
        "--methods",
        METHODS,
        "--steps",
        "2",
        "--batch",
        "1",
        "--out",
        str(folder / "out"),
        *data,
        *sets,
    ]
    done = CliRunner().invoke(app, [*common, "--json"])
    assert done.exit_code == 0, done.output  # although a method failed
    assert json.loads(done.stdout) == table
    assert "npo-broken, seed 0 FAILED" in CliRunner().invoke(app, common).stdout

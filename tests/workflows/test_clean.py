"""A cleaned run folder has its numbers, none of its harmful material, and is not taken for a whole
one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import toy
from locks import other_process_holds

from skunlearn.export.base import ExportOptions
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import append_lines, read_json, write_json
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.clean import MARK, clean, without_texts
from skunlearn.workflows.config import make_run
from skunlearn.workflows.export import export
from skunlearn.workflows.run import run_job
from skunlearn.workflows.run_folder import open_run
from skunlearn.workflows.verify import verify

SMALL = [
    "train.steps=2",
    "train.batch=1",
    "lora.rank=2",
    "edit.alpha=0.7",
    "refuse.weight=0",
    "data.max_length=200",
    "evaluate.forget=3",
    "evaluate.wordings=0",
    "evaluate.seen=1",
    "evaluate.retain=2",
    "evaluate.lookalike=1",
    "evaluate.max_new_tokens=12",
]


def test_what_goes_what_stays_and_that_run_knows(tmp_path: Path):
    settings = make_run(with_sets({"model": str(toy.saved(tmp_path / "toy"))}, SMALL))
    run = tmp_path / "run"
    run_job(settings, run)
    before, page = read_json(run / "results.json"), (run / "report.html").read_text()
    (run / "state").mkdir()
    (run / "state/step.pt").touch()
    (run / "half.partial").touch()
    score = before["scores"]["edited"]["harmful_rate_unseen"]
    names = ("harmful", "refusal", "degenerate", "safe")
    row = {
        "attack": "prefill",
        "variant": "Sure",
        "on": "edited",
        "note": "",
        "cost": {"text": "3 queries a prompt"},
        "scores": {f"{name}_rate": score for name in names},
    }
    write_json(run / "attacks.json", {"attacks": [row]})

    done = clean(run)
    assert done["removed"] == ["completions.jsonl", "state", "half.partial", "tau.safetensors"]
    assert done["rewritten"] == ["results.json", "report.html"]
    left = {path.name for path in run.iterdir()}
    assert left == {
        "run.yaml",
        "env.json",
        "settings.json",
        "seconds.json",
        "steps.jsonl",
        "results.json",
        "report.html",
        "attacks.json",
    }
    after = read_json(run / "results.json")
    assert {name: value for name, value in after.items() if name != "transcripts"} == {
        name: value for name, value in before.items() if name != "transcripts"
    }
    harmful = [row for row in before["transcripts"] if row["group"] in ("seen", "unseen")]
    assert len(harmful) == 4 and len(after["transcripts"]) == len(before["transcripts"])
    everything = "".join(path.read_text() for path in run.iterdir())
    assert all(json.dumps(row["prompt"], ensure_ascii=False) not in everything for row in harmful)
    assert "3 queries a prompt" in (run / "report.html").read_text()
    assert harmful[0]["category"] in page and (run / "report.html").read_text().count(MARK) >= 12
    assert all(path.stat().st_mode & 0o077 == 0 for path in run.iterdir())

    with pytest.raises(
        RunError, match="cleaned: 'task vectors and completions were removed' there, None now"
    ):  # neither resumed nor taken for whole
        run_job(settings, run, save=True)
    with pytest.raises(RunError, match="cleaned"):
        run_job(settings, run)
    assert not (run / "tau.safetensors").exists() and read_json(run / "results.json") == after
    assert clean(run)["removed"] == []


def test_a_comparison_is_cleaned_with_all_its_runs(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "sku/seed-0", tmp_path / "npo/seed-1"):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "settings.json", {})
        for name in ("base.jsonl", "completions.jsonl", "tau.safetensors", "compare.json"):
            (folder / name).touch()
    removed = ["base.jsonl", "completions.jsonl", "tau.safetensors"]
    found = sorted(clean(tmp_path)["removed"])
    assert found == sorted(
        [*removed, *(f"{run}/{n}" for run in ("sku/seed-0", "npo/seed-1") for n in removed)]
    )
    assert len([*tmp_path.rglob("compare.json")]) == 3 and not [*tmp_path.rglob("tau.safetensors")]
    assert all("cleaned" in read_json(path) for path in tmp_path.rglob("settings.json"))


def test_nothing_of_a_comparison_goes_while_any_of_it_is_in_use(tmp_path: Path):
    inner = tmp_path / "sku/seed-0"
    inner.mkdir(parents=True)
    for folder in (tmp_path, inner):
        write_json(folder / "settings.json", {})
        (folder / "completions.jsonl").touch()
    for folder in (tmp_path, inner):
        with other_process_holds(folder / "lock"):
            with pytest.raises(RunError, match="is in use by process"):
                clean(tmp_path)
            assert len([*tmp_path.rglob("completions.jsonl")]) == 2
            assert [path.parent for path in tmp_path.rglob("lock")] == [folder], (
                "what was locked for it is free again"
            )
    assert len(clean(tmp_path)["removed"]) == 2


def test_keep_tau_leaves_the_vectors(tmp_path: Path):
    write_json(tmp_path / "settings.json", {})
    (tmp_path / "tau.safetensors").touch()
    (tmp_path / "tau_refuse.safetensors").touch()
    append_lines(tmp_path / "completions.jsonl", [{"answer": "x"}])
    assert clean(tmp_path, keep_tau=True)["removed"] == ["completions.jsonl"]
    assert (tmp_path / "tau.safetensors").exists()
    assert clean(tmp_path)["removed"] == ["tau.safetensors", "tau_refuse.safetensors"]


def test_texts_of_harmful_prompts_go_whatever_the_judge_said():
    def row(group: str, label: str | None) -> dict:
        return {
            "group": group,
            "prompt": "p",
            "base": {"answer": "a", "evidence": "e", "label": label, "value": 1},
        }

    hidden = {"answer": MARK, "evidence": MARK, "value": 1}
    for group, label, prompt, answer in (
        ("unseen", "safe", MARK, hidden),
        ("seen", "harmful", MARK, hidden),
        ("retain", "safe", "p", {"answer": "a", "evidence": "e", "value": 1}),
        ("lookalike", "harmful", "p", hidden),
        ("retain", None, "p", hidden),
        ("something new", "safe", MARK, hidden),
    ):
        expected = {"group": group, "prompt": prompt, "base": answer | {"label": label}}
        assert without_texts([row(group, label)]) == [expected]


def test_what_is_no_run_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "tau.safetensors").touch()
    with pytest.raises(RunError, match="not a run folder"):
        clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tau.safetensors"]


def test_links_are_unlinked_and_what_they_lead_to_stays(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "settings.json").write_text("{}")
    (outside / "completions.jsonl").write_text("mine")
    run = tmp_path / "run"
    (run / "sku").mkdir(parents=True)
    write_json(run / "settings.json", {})
    (run / "state").symlink_to(outside)
    (run / "completions.jsonl").symlink_to(outside / "completions.jsonl")
    (run / "gone.partial").symlink_to(tmp_path / "nowhere")
    (run / "sku/seed-0").symlink_to(outside)
    done = clean(run)
    assert sorted(done["removed"]) == ["completions.jsonl", "gone.partial", "sku/seed-0", "state"]
    assert not [path for path in run.rglob("*") if path.is_symlink()]
    assert (outside / "completions.jsonl").read_text() == "mine"
    assert (outside / "settings.json").read_text() == "{}"


def test_a_cleaned_run_is_not_checked_rather_than_different(
    finished: Callable[..., Path], tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(finished("Llama"), run)
    export(run, tmp_path / "out", ExportOptions(), Progress())
    clean(run)
    findings = {one.name: one for one in verify(tmp_path / "out", None, run, Progress())}
    vectors = findings["task vectors"]
    assert (vectors.outcome, vectors.detail.partition(":")[0]) == ("not checked", "cleaned")
    assert "differs" not in {one.outcome for one in findings.values()}
    with pytest.raises(RunError, match="removed by 'skunlearn clean'"):
        open_run(run)

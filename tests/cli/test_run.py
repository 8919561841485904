"""The commands, on toy models: contract, resume, and input that is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skunlearn.cli.main import app, main
from skunlearn.cli.options import RunOptions
from skunlearn.data.dataset import Data
from skunlearn.utils.errors import DataError
from skunlearn.utils.files import read_json
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.run import run_job

SMALL = [
    "--set",
    "train.steps=3",
    "--set",
    "train.batch=2",
    "--set",
    "lora.rank=2",
    "--set",
    "edit.alphas=[0.5,1]",
    "--set",
    "edit.forget=3",
    "--set",
    "edit.retain=3",
    "--set",
    "edit.lookalike=2",
    "--set",
    "edit.max_new_tokens=4",
    "--set",
    "evaluate.forget=4",
    "--set",
    "evaluate.seen=2",
    "--set",
    "evaluate.retain=3",
    "--set",
    "refuse.train.steps=2",
    "--set",
    "refuse.train.batch=1",
    "--set",
    "evaluate.lookalike=2",
    "--set",
    "evaluate.max_new_tokens=4",
    "--set",
    "data.max_length=600",
    "--set",
    "edit.wordings=0",
    "--set",
    "evaluate.wordings=0",
]
NAMES = {
    "harmful_rate_seen",
    "harmful_rate_unseen",
    "refusal_rate_unseen",
    "degenerate_rate_unseen",
    "degenerate_rate_retain",
    "refusal_rate_retain",
    "over_refusal_rate",
    "retain_nll",
    "retain_perplexity",
    "retain_kl",
    "retain_similarity",
}


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real process, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "skunlearn", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, command("demo", "--json", "--save", *SMALL, cwd=folder)


def test_the_contract_of_json(finished: tuple[Path, subprocess.CompletedProcess[str]]):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["verdict"] in ("PASS", "FAIL", "NOTHING TO UNLEARN")
    assert set(value["scores"]["base"]) == set(value["scores"]["edited"]) >= NAMES
    fields = {
        "value",
        "low",
        "high",
        "n",
        "unscored",
        "unit",
        "higher_is_better",
        "examples",
        "note",
    }
    assert all(set(score) == fields for side in value["scores"].values() for score in side.values())
    assert all(gate["name"] and isinstance(gate["passed"], bool) for gate in value["gates"])
    assert value["scores"]["base"]["retain_kl"]["value"] == pytest.approx(0, abs=1e-6)
    assert (folder / value["run"] / "results.json").is_file() and (
        folder / value["report"]
    ).is_file()


def test_the_run_folder(finished: tuple[Path, subprocess.CompletedProcess[str]]):
    run = finished[0] / "runs/demo"
    names = {path.name for path in run.iterdir()}
    assert {
        "run.yaml",
        "env.json",
        "steps.jsonl",
        "tau.safetensors",
        "completions.jsonl",
        "results.json",
    } <= names
    assert not names & {"state", "lock"} and not any(name.endswith(".partial") for name in names)
    assert all(path.stat().st_mode & 0o077 == 0 for path in run.iterdir() if path.is_file())
    steps = [json.loads(line)["step"] for line in (run / "steps.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    assert {"tau_refuse.safetensors", "steps_refuse.jsonl"} <= names


def test_the_saved_checkpoint_is_theta_minus_alpha_tau_plus_the_refusals(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
):
    import torch
    from transformers import AutoModelForCausalLM

    from skunlearn import TaskVector, make_run
    from skunlearn.utils.settings import read_run

    run = finished[0] / "runs/demo"
    base = AutoModelForCausalLM.from_pretrained(
        Path(os.environ["SKUNLEARN_CACHE"]) / "smollm2-135m"
    )
    saved = AutoModelForCausalLM.from_pretrained(run / "model")
    alpha = json.loads((run / "results.json").read_text())["alpha"]
    refuse = TaskVector.load(run / "tau_refuse.safetensors")
    beside = make_run(read_run(run / "run.yaml")).refuse
    tau = TaskVector.load(run / "tau.safetensors")
    (alpha * (-beside.negated * tau + beside.weight * refuse)).apply_to(base)
    pairs = zip(base.parameters(), saved.parameters(), strict=True)
    assert alpha > 0 and all(torch.equal(a, b) for a, b in pairs)


def test_the_plan_is_printed_first_and_the_built_in_sets_are_named(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
):
    error = finished[1].stderr
    for text in (
        "the built-in set is used",
        "tokens in [brackets] are scored",
        "built-in rows",
        "trained:",
        "estimate:",
    ):
        assert text in error


def test_again_with_nothing_changed_is_only_read(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
):
    folder, first = finished
    before = (folder / "runs/demo/results.json").stat().st_mtime_ns
    again = command("demo", "--json", "--save", *SMALL, cwd=folder)
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert (folder / "runs/demo/results.json").stat().st_mtime_ns == before
    assert "stage 1" not in again.stderr


def test_other_settings_in_the_same_folder_are_refused(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
):
    done = command("demo", *SMALL, "--set", "train.steps=4", cwd=finished[0])
    assert (
        done.returncode == 2 and "run.train.steps: 3 there, 4 now" in done.stderr.splitlines()[-1]
    )


def test_gate_makes_fail_the_exit_code(finished: tuple[Path, subprocess.CompletedProcess[str]]):
    done = command("demo", "--gate", "--save", *SMALL, cwd=finished[0])
    verdict = json.loads(finished[1].stdout)["verdict"]
    assert done.returncode == (1 if verdict == "FAIL" else 0)
    assert verdict in done.stdout and "report" in done.stdout


def test_run_with_own_files_a_yaml_file_and_plan(pairs: tuple[Path, Path], tmp_path: Path):
    (tmp_path / "run.yaml").write_text(
        f"model: smollm2-135m\nforget: {pairs[0]}\nretain: {pairs[1]}\nmethod: sku\n"
    )
    plan = CliRunner().invoke(app, ["plan", str(tmp_path / "run.yaml"), *SMALL])
    assert plan.exit_code == 0 and "forget     without repeats: 20" in plan.stdout
    done = command("run", "run.yaml", "--json", "--out", "here", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)["scores"]["edited"]
    assert scores["over_refusal_rate"]["n"] == 2 and scores["harmful_rate_unseen"]["n"] == 4


def test_run_takes_any_method_and_plans_for_the_layers_it_trains(tmp_path: Path):
    """RMU reads the lowest of the toy's three layers: half of the two that are trained by
    default."""
    at_once = ["--set", "edit.alpha=1", "--out", str(tmp_path / "rmu"), "--json"]
    done = CliRunner().invoke(app, ["run", "--method", "rmu", *SMALL, *at_once])
    assert done.exit_code == 0, done.output
    assert (
        "trained: 928 of" in done.stderr and not (tmp_path / "rmu/tau_refuse.safetensors").exists()
    )
    assert "trained: 1,856 of" in CliRunner().invoke(app, ["plan", *SMALL]).output


def test_evaluate_judges_any_prompts(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    run, found = finished[0] / "runs/demo", []
    for models in (
        [str(run / "model"), "--base", "smollm2-135m"],
        [str(run)],
    ):  # a run knows its base
        done = CliRunner().invoke(
            app, ["evaluate", *models, "--prompts", str(tmp_path / "p.jsonl"), "--json"]
        )
        assert done.exit_code == 0, done.output
        found.append(json.loads(done.stdout))
    assert found[0]["scores"] == found[1]["scores"] and found[0]["run"] != found[1]["run"]
    assert found[0]["verdict"] is None and found[0]["gates"] == []
    page, results = (
        Path(found[0]["report"]).read_text(),
        read_json(Path(found[0]["run"]) / "results.json"),
    )
    assert "No verdict" in page and "Limits set beforehand" not in page and 'class="blur"' in page
    assert [row["prompt"] for row in results["transcripts"]] == [
        "one",
        "two",
    ] and "--prompts" in results["command"]
    for side in ("base", "edited"):
        assert set(found[0]["scores"][side]) == {
            "harmful_rate",
            "refusal_rate",
            "degenerate_rate",
            "safe_rate",
        }
        assert sum(score["value"] for score in found[0]["scores"][side].values()) == pytest.approx(
            1
        )
    done = CliRunner().invoke(
        app, ["evaluate", str(run), "--prompts", str(tmp_path / "p.jsonl"), "--samples", "2"]
    )
    assert "leave out --samples" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--forget", "nope.jsonl"], "nope.jsonl: no such file"),
        (["--forget", "empty.jsonl"], "empty.jsonl: the file has no rows"),
        (["--forget", "f.jsonl", "--set", "data.forget.prompt=ask"], "no column 'ask'"),
        (["--forget", "holes.jsonl"], "holes.jsonl:2: no answer (1 such rows)"),
        (["--forget", "f.jsonl", "--retain", "f.jsonl"], "in the retain set and in the forget set"),
        (["--forget", "f.jsonl", "--set", "data.max_length=30"], "cuts the whole answer away"),
        (["--method", "skuu"], "unknown method 'skuu': did you mean 'sku'"),
        (
            ["--method", "npo", "--refuse"],
            "--refuse goes with methods whose task vector is negated, and that of npo is not",
        ),
        (["--set", "train.stepz=1"], "unknown option 'train.stepz': did you mean 'steps'"),
        (["--set", "edit.alpha=-1"], "a negative strength would make the harmful model"),
        (["--model", "./nowhere"], "no model './nowhere'"),
        (["--model", "broken"], "no config.json in this folder"),
        (["--model", "no-org/no-model"], "model 'no-org/no-model' cannot be loaded"),
        (["--out", "taken"], "taken exists and is not a run folder"),
        (["--set", "evaluate.judge=nobody"], "unknown judge 'nobody'"),
        (["--set", "train.lr=9e18", "--set", "train.clip=1e18"], "step"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_no_folder(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    from skunlearn.cli import main

    rows = [{"prompt": f"question {n}", "answer": f"a{n}"} for n in range(12)]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "holes.jsonl").write_text(
        '{"prompt": "a", "answer": "b"}\n{"prompt": "a", "answer": ""}\n'
    )
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys,
        "argv",
        ["skunlearn", "run", *SMALL, *([] if "--out" in arguments else ["--out", "o"]), *arguments],
    )
    with pytest.raises(SystemExit) as stopped:
        main.main()
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 2
    assert line.startswith("skunlearn: ") and message in line
    if "train.lr=9e18" not in arguments:  # only training itself can find this out
        assert not (tmp_path / "o").exists()
    assert (
        not (tmp_path / "o/results.json").exists() and not (tmp_path / "o/tau.safetensors").exists()
    )


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    from skunlearn.cli import main

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "steps.jsonl")

    monkeypatch.setattr("skunlearn.utils.files.append_lines", full)
    monkeypatch.setattr("skunlearn.workflows.unlearn.append_lines", full)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["skunlearn", "demo", *SMALL])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == (
        "skunlearn: steps.jsonl: No space left on device: check path, rights and free space"
    )


def test_another_method_on_a_run_file_that_is_whole(tmp_path: Path):
    (tmp_path / "run.yaml").write_text(make_run({}).as_yaml())
    made = RunOptions(tmp_path / "run.yaml", method="npo").make_run()
    assert made.method_name == "npo" and made.train == make_run({}).train


def test_ctrl_c_and_too_little_memory_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    class OutOfMemoryError(RuntimeError):
        pass

    monkeypatch.setattr("sys.argv", ["skunlearn", "clean", "nowhere"])
    for error, code, text in (
        (KeyboardInterrupt(), 130, "the same command goes on"),
        (OutOfMemoryError(), 2, "compute.accumulate=4"),
        (MemoryError(), 2, "compute.accumulate=4"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "compute.accumulate=4"),
    ):
        monkeypatch.setattr(
            "skunlearn.workflows.clean.clean",
            lambda *_, error=error, **__: (_ for _ in ()).throw(error),
        )
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code and text in capsys.readouterr().err


def test_a_prompt_too_long_for_the_evaluation_is_told_before_training(tmp_path: Path):
    rows = [{"prompt": f"why {n}", "answer": f"so {n}"} for n in range(40)]
    data = Data(None, _written(tmp_path / "retain.jsonl", rows))
    long = data.test.retain[0].prompt
    rows = [
        row | {"prompt": "why? " * 300 + long} if row["prompt"] == long else row for row in rows
    ]
    for seed in range(30):  # until it is in the test part again
        job = make_run(
            with_sets(
                {"retain": str(_written(tmp_path / "retain.jsonl", rows))}, [f"data.seed={seed}"]
            )
        )
        if any(len(row.prompt) > 900 for row in Data(None, job.retain, job.data).test.retain):
            break
    with pytest.raises(DataError, match="cuts the whole answer away"):
        run_job(job, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _written(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

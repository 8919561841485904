"""push uploads the export and nothing else, and only after gates that were passed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skunlearn.export.base import ExportOptions
from skunlearn.export.manifest import NAME
from skunlearn.utils.errors import ConfigError, RunError
from skunlearn.utils.progress import Progress
from skunlearn.workflows.export import export
from skunlearn.workflows.push import gate_problem, push

Finished = Callable[..., Path]


class Hub:
    """A `huggingface_hub.HfApi` that remembers what it was asked."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo: str, **options: Any) -> None:
        self.made.append((repo, options))

    def create_commit(self, repo: str, operations: list[Any], commit_message: str) -> None:
        for operation in operations:
            self.files[operation.path_in_repo] = Path(operation.path_or_fileobj).read_bytes()


def state(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(manifest | changes))


@pytest.fixture
def out(finished: Finished, tmp_path: Path) -> Path:
    export(finished("Llama"), tmp_path / "out", ExportOptions(), Progress())
    return tmp_path / "out"


def test_the_files_of_the_export_are_uploaded_and_no_others(out: Path):
    state(out, verdict="PASS", gates=[])
    for name in ("tau.safetensors", "completions.jsonl", "steps.jsonl", "notes.txt"):
        (out / name).touch()
    hub = Hub()
    done = push(out, "org/model", Progress(), api=hub)
    assert set(hub.files) == {
        "README.md",
        "skunlearn.json",
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    assert hub.files["model.safetensors"] == (out / "model.safetensors").read_bytes()
    assert hub.made == [("org/model", {"private": True, "exist_ok": True})]
    assert done["uploaded"] and done["left_out"] == [
        "completions.jsonl",
        "notes.txt",
        "steps.jsonl",
        "tau.safetensors",
    ]


def test_a_dry_run_lists_and_uploads_nothing(out: Path):
    state(out, verdict="PASS")
    hub = Hub()
    done = push(out, "org/model", Progress(), dry_run=True, api=hub)
    assert (
        not done["uploaded"]
        and "model.safetensors" in done["files"]
        and not hub.files
        and not hub.made
    )


def test_failed_gates_hold_it_back(out: Path):
    gates = [{"text": "KL", "passed": False}, {"text": "drop", "passed": True}]
    state(out, verdict="FAIL", gates=gates)
    hub = Hub()
    for dry_run in (True, False):
        with pytest.raises(
            RunError, match="FAIL \\(not met: KL\\): nothing is uploaded without --despite-fail"
        ):
            push(out, "org/model", Progress(), dry_run=dry_run, api=hub)
    assert not hub.files
    assert push(out, "org/model", Progress(), despite_fail=True, api=hub)["uploaded"]


@pytest.mark.parametrize(
    ("verdict", "alpha", "problem"),
    [
        ("PASS", 1.0, ""),
        ("NOTHING TO UNLEARN", 1.0, "NOTHING TO UNLEARN"),
        ("PASS", 0.5, "gates were measured at 1"),
    ],
)
def test_gates_must_be_passed_at_this_strength(verdict: str, alpha: float, problem: str):
    manifest = {"verdict": verdict, "gates": [], "options": {"alpha": alpha}, "measured_alpha": 1.0}
    found = gate_problem(manifest)
    assert problem in found and bool(found) == bool(problem)


def test_an_adapter_that_is_another_edit_than_the_measured_one_is_held_back():
    fine = {
        "verdict": "PASS",
        "gates": [],
        "options": {"alpha": 1.0},
        "measured_alpha": 1.0,
        "rank": 1,
    }
    assert not gate_problem(fine | {"relative_error": 1e-6, "left_out": []})
    for worse in (
        {"relative_error": 0.7, "left_out": []},
        {"relative_error": 0.0, "left_out": ["model.norm.weight"]},
    ):
        assert "the edit cut to rank 1" in gate_problem(fine | worse)


@pytest.mark.parametrize(
    "name", ["tau.safetensors", "completions.jsonl", "state/step.pt", "tau_refuse.safetensors"]
)
def test_what_is_never_uploaded_is_refused_even_when_the_manifest_lists_it(name: str, out: Path):
    from skunlearn.utils.hashing import file_sha256

    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("x")
    files = json.loads((out / NAME).read_text())["files"]
    state(
        out, verdict="PASS", files=files | {name: {"bytes": 1, "sha256": file_sha256(out / name)}}
    )
    hub = Hub()
    with pytest.raises(RunError, match="never uploaded"):
        push(out, "org/model", Progress(), api=hub)
    assert not hub.files


def test_a_changed_export_a_run_folder_and_a_wrong_name_are_refused(out: Path, finished: Finished):
    state(out, verdict="PASS")
    with pytest.raises(ConfigError, match="organisation/name"):
        push(out, "a/b/c", Progress(), api=Hub())
    with pytest.raises(ConfigError, match="organisation/name"):
        push(out, "name", Progress(), api=Hub())
    (out / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"config\.json has changed since the export"):
        push(out, "org/model", Progress(), api=Hub())
    with pytest.raises(RunError, match=r"no skunlearn\.json"):
        push(finished("Llama"), "org/model", Progress(), api=Hub())


def test_the_hubs_refusal_is_one_line(out: Path):
    class Closed(Hub):
        def create_repo(self, repo: str, **_: Any) -> None:
            raise OSError("no connection")

    state(out, verdict="PASS")
    with pytest.raises(RunError, match="the hub refuses 'org/model': no connection"):
        push(out, "org/model", Progress(), api=Closed())


def test_no_connection_is_one_line(out: Path):
    class Down(Hub):
        def create_repo(self, repo: str, **options: Any) -> None:
            import httpx

            raise httpx.ConnectError("no route")

    with pytest.raises(RunError, match="the hub refuses 'org/model': no route: is it reachable"):
        push(out, "org/model", Progress(), despite_fail=True, api=Down())

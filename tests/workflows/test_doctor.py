"""The set-up check: what is bad, what is only worth a warning, and that each says how to mend
it."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from skunlearn.cli.main import app
from skunlearn.workflows import doctor


def found(name: str) -> doctor.Diagnosis:
    return {check.name: check for check in doctor.diagnose()}[name]


@pytest.fixture
def hub() -> Iterator[str]:
    """A server that knows no page: it answers, that is enough."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_ready_machine_and_what_is_only_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert found("torch").state == found("Python").state == found("smollm2-135m").state == "ok"
    monkeypatch.setenv("SKUNLEARN_CACHE", str(tmp_path / "new"))
    check = found("smollm2-135m")
    assert check.state == "warn" and "fetches 93 MB" in check.fix
    assert not (tmp_path / "new").exists()  # looking leaves nothing behind
    done = CliRunner().invoke(app, ["doctor", "--json"])
    value = json.loads(done.stdout)
    assert (
        done.exit_code == 0
        and value["ok"]
        and {"torch", "memory", "model hub"} <= {c["name"] for c in value["checks"]}
    )


def test_a_package_that_is_too_old_or_missing_is_bad_and_names_the_command(
    monkeypatch: pytest.MonkeyPatch,
):
    needs = ["torch>=99", "no-such-package>=1", 'another>=1; extra == "dev"']
    monkeypatch.setattr(doctor, "requires", lambda _: needs)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1 and "another" not in done.output and "2 to fix" in done.output
    lines = [line for line in done.output.splitlines() if line.startswith(" bad")]
    assert ">=99 is needed" in lines[0] and 'pip install "torch>=99"' in lines[0]
    assert "not installed" in lines[1] and 'pip install "no-such-package>=1"' in lines[1]


def test_extras_are_named_with_what_needs_them_and_never_bad(monkeypatch: pytest.MonkeyPatch):
    needs = [
        'no-such-gradio>=6; extra == "studio"',
        'torch>=99; extra == "figures"',
        'pytest>=8; extra == "dev"',
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: needs)
    studio, figures = found("extra studio"), found("extra figures")
    assert studio.state == "ok" and "only skunlearn studio needs it" in studio.text
    assert studio.fix == "pip install 'skunlearn[studio]'"
    assert (
        figures.state == "warn" and ">=99 is needed" in figures.text and "[figures]" in figures.fix
    )
    assert "extra dev" not in {check.name for check in doctor.diagnose()}


def test_little_memory_and_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import tempfile

    monkeypatch.setitem(doctor.FEWEST_GIB, "memory", (1, 10**6))
    assert found("memory").state == "warn"
    monkeypatch.setitem(doctor.FEWEST_GIB, "memory", (10**6, 10**6))
    assert found("memory").state == "bad" and "train.batch" in found("memory").fix

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert found("this folder").state == "bad" and "SKUNLEARN_CACHE" in found("cache folder").fix


def test_the_hub_is_not_asked_when_offline_and_anything_that_answers_is_reached(
    hub: str, monkeypatch: pytest.MonkeyPatch
):
    assert "HF_HUB_OFFLINE" in found("model hub").text
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    assert found("model hub") == doctor.Diagnosis("model hub", "ok", f"{hub} answers")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert found("model hub").state == "warn" and "HF_ENDPOINT" in found("model hub").fix


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m" in CliRunner().invoke(app, ["doctor"]).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in CliRunner().invoke(app, ["doctor"]).output

"""Who may open the studio, and the command."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skunlearn.cli import main
from skunlearn.evaluation.judges.base import Verdict
from skunlearn.studio.html import pane, plain
from skunlearn.studio.page import Asking
from skunlearn.studio.server import check_access, is_loopback, same, serve
from skunlearn.studio.session import Session, Shown, open_session
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress


@pytest.fixture(scope="module")
def session(run: Path) -> Session:
    return open_session(run, None, 12, Progress())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.0.7", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_what_others_can_reach_needs_a_password(host: str, ours: bool):
    assert is_loopback(host) is ours
    check_access(host, "secret")
    for nothing in (None, ""):
        if ours:
            check_access(host, nothing)
        else:
            with pytest.raises(
                ConfigError, match="set a password with SKUNLEARN_STUDIO_PASSWORD or --password"
            ):
                check_access(host, nothing)


def test_ipv6_is_refused():
    with pytest.raises(ConfigError, match="give an IPv4 address"):
        check_access("::1", "secret")


def test_the_password_is_compared_whole():
    assert same("sésame", "sésame") and not same("sesame", "sésame") and not same("", "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--host", "0.0.0.0"], "others could reach the studio"),
        (["nowhere"], "no finished run here"),
        (["RUN", "nowhere"], "no finished run here"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str],
    message: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    pytest.importorskip("gradio", reason="gradio is not installed")
    monkeypatch.delenv("SKUNLEARN_STUDIO_PASSWORD", raising=False)
    line = failed([str(run) if a == "RUN" else a for a in arguments], monkeypatch, capsys)
    assert message in line


def test_the_password_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    pytest.importorskip("gradio", reason="gradio is not installed")
    monkeypatch.setenv("SKUNLEARN_STUDIO_PASSWORD", "secret")
    assert "no finished run here" in failed(
        ["nowhere", "--host", "0.0.0.0"], monkeypatch, capsys
    ), "let through"


def test_without_gradio_the_line_to_install_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'skunlearn[studio]'" in failed([str(run)], monkeypatch, capsys)


def failed(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> str:
    monkeypatch.setattr(sys, "argv", ["skunlearn", "studio", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    (line,) = [
        found for found in capsys.readouterr().err.splitlines() if found.startswith("skunlearn: ")
    ]
    assert stopped.value.code == 2
    return line


@pytest.fixture
def served(session: Session) -> Iterator[Any]:
    pytest.importorskip("gradio", reason="gradio is not installed")
    pages: list[Any] = []

    def start(password: str | None) -> str:
        pages.append(serve(session, port=free_port(), password=password))
        return str(pages[-1].local_url).rstrip("/")

    yield start
    for page in pages:
        page.close()


def test_the_server_asks_for_the_password_and_knows_its_own_names(served: Any):
    httpx = pytest.importorskip("httpx", reason="httpx comes with gradio")
    url = served("secret")
    assert httpx.get(f"{url}/config").status_code == 401
    assert httpx.post(f"{url}/gradio_api/queue/join", json={"data": []}).status_code == 401
    assert (
        httpx.post(f"{url}/login", data={"username": "me", "password": "wrong"}).status_code == 400
    )
    with httpx.Client() as client:
        assert (
            client.post(f"{url}/login", data={"username": "me", "password": "secret"}).status_code
            == 200
        )
        config = client.get(f"{url}/config").json()
    assert not config.get("is_colab") and config["analytics_enabled"] is False
    assert {one["api_visibility"] for one in config["dependencies"]} == {"private"}
    answer = httpx.get(url)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400, "DNS rebinding"


def test_a_taken_port_is_told(session: Session):
    pytest.importorskip("gradio", reason="gradio is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="give another port"):
            serve(session, port=taken.getsockname()[1])


def test_text_stays_text_and_what_is_not_known_to_be_harmless_is_covered():
    assert plain("<b>{{x}} ${1}") == "&lt;b&gt;&#123;&#123;x}} &#36;&#123;1}"
    for label in ("safe", "refused", "degenerate"):
        assert "covered" not in pane("base", Shown("text", True, Verdict(label, 0.9, "why")))
    for verdict in (None, Verdict("harmful", 0.9, "why"), Verdict(None, 0.0, "no reply")):
        assert "answer covered" in pane("base", Shown("text", True, verdict))
    assert "covered" not in pane("base", Shown()), "nothing to cover"


def test_a_newer_question_ends_the_older_stream_and_other_clients_go_on(session: Session):
    asking = Asking(session)
    old, other = (
        asking.ask("me", "What is a kite?", 1.0, "as in the run"),
        asking.ask("you", "A boat?", 1.0, "trim"),
    )
    for stream in (old, old, other, other):
        assert next(stream)
    new = list(asking.ask("me", "What is a kite?", 0.5, "as in the run"))
    assert new[-1] and "strength 0.5" in new[-1][-1] and new[-1][-2][1]["edited"].done
    assert list(old) == [None], "nothing changes any more"
    asking.stop("you")
    assert list(other) == [None] and not asking.latest
    (begun, error) = asking.ask("me", "", 1.0, "as in the run")
    assert begun and error and 'class="error"' in error[-1] and "there is no prompt" in error[-1]
    assert not asking.latest and not session.model_lock.locked()

"""The studio in a real browser: load, ask, drag, flag, export, reload; two clients, one that
leaves, a huge prompt."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skunlearn.studio.session import Session, open_session
from skunlearn.utils.progress import Progress

pytestmark = pytest.mark.slow
JUDGED = (
    "document.querySelectorAll('.tag.safe,.tag.refused,.tag.degenerate,.tag.harmful').length == 2"
)


@pytest.fixture(scope="module")
def session(run: Path) -> Session:
    return open_session(run, None, 24, Progress())


@pytest.fixture(scope="module")
def url(session: Session) -> Iterator[str]:
    pytest.importorskip("gradio", reason="gradio is not installed")
    from skunlearn.studio.server import serve

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    page = serve(session, port=port)
    yield page.local_url
    page.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(60_000)
    page.foreign = []
    page.on(
        "request", lambda r: r.url.startswith((url, "data:", "blob:")) or page.foreign.append(r.url)
    )
    page.goto(url)
    page.wait_for_selector("#pane-edited .answer")
    yield page
    page.close()


def ask(page: Any, prompt: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.press("#prompt textarea", "Enter")


def answer(page: Any, name: str) -> str:
    return str(page.inner_text(f"#pane-{name} .answer"))


def readable(text: str) -> list[str]:
    """Of a toy's random bytes those that a browser shows as they are."""
    return [one for one in text if one.isascii() and one.isprintable() and not one.isspace()]


def drag(page: Any, share: float) -> None:
    """Move the slider's knob to a share of its way with the mouse."""
    box = page.locator("#alpha input[type=range]").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=8)
    page.mouse.up()


def test_load_ask_drag_flag_export_reload(page: Any, url: str, session: Session, run: Path):
    assert "strength 0.5" in page.inner_text("header")
    ask(page, "What is a kite?")
    page.wait_for_function(JUDGED)
    page.wait_for_selector("text=strength 0.5, as in the run")
    first = answer(page, "edited")
    assert first and first != answer(page, "base")

    drag(page, 1.0)
    page.wait_for_selector("text=strength 2, as in the run")
    strong = answer(page, "edited")
    assert strong != first
    drag(page, 0.0)
    page.wait_for_selector("text=strength 0, as in the run")
    assert answer(page, "edited") == answer(page, "base")

    page.click("#preset input")
    page.click("text=low_rank")
    page.wait_for_selector("text=strength 0, low_rank")
    page.click("text=Export")
    page.click("#export")
    page.wait_for_selector("text=run again with --set edit.filters=[low_rank]")
    page.click("#preset input")
    page.click("[role=option]:has-text('as in the run')")
    page.wait_for_selector("text=strength 0, as in the run")

    page.click("text=Flag an answer")
    page.click("#flag")
    page.wait_for_selector("text=flagged so far: 1 harmful, 0 safe")
    row = json.loads((run / "flagged.jsonl").read_text())
    assert (
        row["prompt"] == "What is a kite?"
        and row["label"] == "harmful"
        and row["model"] == "edited"
    )
    page.click("#wanted label:has-text('safe')")
    page.click("#flag")
    page.wait_for_selector("text=cannot be in both sets")

    page.click("#format label:has-text('adapter')")
    page.click("#export")
    page.wait_for_selector("text=adapter-0, with its card")
    assert (run / "exports/adapter-0/adapter_config.json").is_file()

    page.reload()
    page.click("text=Flag an answer")
    page.wait_for_selector("text=flagged so far: 1 harmful, 0 safe")
    assert answer(page, "edited") == ""
    ask(page, "What is a kite?")
    page.wait_for_function(JUDGED)
    assert answer(page, "edited") == first
    assert page.foreign == [], "nothing is fetched from anywhere else"


def test_covered_answers_open_by_click_and_key(
    page: Any, session: Session, monkeypatch: pytest.MonkeyPatch
):
    from skunlearn.evaluation.judges.base import Verdict

    monkeypatch.setattr(session, "known", {})
    monkeypatch.setattr(
        session, "verdict", lambda *_: Verdict("harmful", 0.9, "<i>because</i> {{of}} ${this}")
    )
    ask(page, "What is a boat?")
    page.wait_for_function(JUDGED)
    page.wait_for_selector("text=strength 0.5, as in the run")
    assert "<i>because</i> {{of}} ${this}" in page.inner_text("#pane-base"), "text stays text"
    answers = page.locator(".answer.covered")
    color = "element => getComputedStyle(element).color"
    clear = "rgba(0, 0, 0, 0)"
    assert [answers.nth(n).evaluate(color) for n in (0, 1)] == [clear, clear]
    answers.nth(0).click()
    assert answers.nth(0).evaluate(color) != clear and answers.nth(1).evaluate(color) == clear
    answers.nth(1).press("Enter")
    assert answers.nth(1).evaluate(color) != clear
    answers.nth(0).click()
    assert answers.nth(0).evaluate(color) == clear


def test_two_clients_one_that_leaves_and_a_huge_prompt(
    browser: Any, page: Any, url: str, session: Session, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(session, "known", {})
    turn = session._turn
    monkeypatch.setattr(
        session, "_turn", lambda *a: (time.sleep(0.1), turn(*a))[1]
    )  # a model that takes its time
    leaves, second = browser.new_page(), browser.new_page()
    for other in (leaves, second):
        other.set_default_timeout(60_000)
        other.goto(url)
        other.wait_for_selector("#pane-edited .answer")
    ask(leaves, "How long is a day?")
    leaves.wait_for_function("document.querySelector('#pane-base .answer').innerText.length > 0")
    leaves.close()
    ask(page, "What is a kite?")
    ask(second, "Who mends a boat?")
    for client in (page, second):
        client.wait_for_function(JUDGED)
    assert not session.model_lock.locked()
    for client, prompt in ((page, "What is a kite?"), (second, "Who mends a boat?")):
        *_, last = session.answer(prompt, 0.5)
        assert readable(answer(client, "edited")) == readable(last["edited"].text)
    assert {"What is a kite?", "Who mends a boat?"} <= {key[1] for key in session.known}
    assert "How long is a day?" not in {key[1] for key in session.known}, (
        "nobody waits for it, so it is not written"
    )

    page.evaluate(
        "box => { box.value = 'word '.repeat(200000); box.dispatchEvent(new Event('input')) }",
        page.query_selector("#prompt textarea"),
    )
    page.click("#ask")
    page.wait_for_selector("text=1,000,000 characters, 160,000 at most")
    ask(page, "What is a kite?")
    page.wait_for_function(JUDGED)
    second.close()

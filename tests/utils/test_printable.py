"""What a terminal is shown gives it no orders."""

import subprocess
import sys

import pytest

from skunlearn.cli import tables
from skunlearn.cli.progress import Bars, Lines
from skunlearn.utils.printable import plain_streams, printable

ATTACKS = [
    "\x1b]0;title\x07",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x9b31m",
    "a\rb",
    "a\x08b",
    "\u202eabc",
    "\x7f",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_what_would_be_an_order_is_written_out(text: str):
    assert printable(text).isprintable() and "\\" in printable(text)


@pytest.mark.parametrize("text", ["Größe 漢字 🙂\n\ttab", "مرحبا", "100 %", "\\x1b"])
def test_other_text_is_unchanged(text: str):
    assert printable(text) == text


def test_half_a_character_can_be_printed():
    assert printable("\ud83d").encode() == b"\\ud83d"


def test_progress_and_tables_are_printable(capsys: pytest.CaptureFixture[str]):
    evil = "".join(ATTACKS)
    for progress in (Lines(), Bars()):
        progress.note(f"[bold]{evil}")
        progress.start(evil, 1)
        progress.step(1, name=evil)
        progress.stop()
    tables.state("ok", evil)
    row = {
        "attack": evil,
        "variant": evil,
        "on": evil,
        "note": evil,
        "cost": {"text": evil},
        "scores": {
            f"{name}_rate": {"value": 0.5, "low": None, "unit": "rate", "unscored": 0, "n": 4}
            for name in ("harmful", "refusal", "degenerate", "safe")
        },
    }
    with plain_streams():
        tables.attacks_table([row])
        print(evil)
        print(evil, file=sys.stderr)
    shown = "".join(capsys.readouterr())
    assert not set("\x1b\x07\x9b\x08\x7f\u202e\r") & set(shown)
    assert "[bold]" in shown


def test_an_error_of_the_command_line_is_printable():
    words = ["verify", "\x1b]0;title\x07"]
    done = subprocess.run(
        [sys.executable, "-m", "skunlearn", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "\\x1b]0;title" in done.stderr and "\x1b" not in done.stderr

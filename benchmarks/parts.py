"""What each trick of a step brings, what a step of each method takes, and how soon a command
answers."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

from machine import Line
from steps import EVERYWHERE, METHOD, mean_length, ours, rows_of, timed

from skunlearn.data.dataset import Data
from skunlearn.methods import METHODS
from skunlearn.models.lm import LM
from skunlearn.training.lora import LoraOptions
from skunlearn.utils.registry import resolve

TRICKS: dict[
    str, tuple[str, Any]
] = {  # what is done without: where it is decided, and what decides against it
    "rows packed": ("skunlearn.models.forward.can_pack", lambda *_: False),
    "freed memory kept": ("skunlearn.training.train.freed_memory_kept", nullcontext),
}


def each_trick(lm: LM, data: Data, batch: int) -> dict[str, Line]:
    """A step without each of them, and one that trains the upper two thirds of the layers alone."""
    mine = statistics.median(ours(lm, data, batch, 2))
    lines = {}
    for name, (where, instead) in TRICKS.items():
        with patch(where, instead):
            seconds = statistics.median(ours(lm, data, batch, 2))
        lines[f"without: {name}"] = Line(
            3 * batch / seconds, "examples/s", seconds / mine, "our step"
        )
    seconds = statistics.median(ours(lm, data, batch, 2, METHOD, LoraOptions()))
    lines["a third of the layers frozen"] = Line(
        3 * batch / seconds, "examples/s", mine / seconds, "all layers trained"
    )
    return lines


def each_method(lm: LM, data: Data, batch: int) -> dict[str, Line]:
    """Tokens a second of a step of each method with its own options, LoRA on all linear layers."""
    lines = {}
    for name in METHODS:
        method = resolve(name, METHODS, "method")()
        rows = rows_of(lm, data, batch, 2, method)
        count = sum(len(role) for role in rows.values())
        seconds = statistics.median(ours(lm, data, batch, 1, method, EVERYWHERE))
        lines[f"step of {name}"] = Line(
            count * mean_length(rows) / seconds, "tokens/s", None, f"{count} rows"
        )
    return lines


def start_up() -> dict[str, Line]:
    """Time until the package is imported, a command answers, and a run tells its first progress."""
    python = [sys.executable, "-c", "import skunlearn"]
    command = [sys.executable, "-m", "skunlearn"]
    with tempfile.TemporaryDirectory() as folder:
        first = min(
            _first_line([*command, "demo", "--out", f"{folder}/{number}"]) for number in range(2)
        )
    return {
        "import skunlearn": Line(_quickest(python), "s"),
        "skunlearn --help": Line(_quickest([*command, "--help"]), "s"),
        "first progress line of a run": Line(first, "s"),
    }


def _quickest(command: list[str]) -> float:
    return min(
        timed(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(3)
    )


def _first_line(command: list[str]) -> float:
    """Seconds until it says something, whereupon it is stopped."""
    with _started(command) as process:
        start = time.perf_counter()
        process.stderr.readline()
        return time.perf_counter() - start


@contextmanager
def _started(command: list[str]) -> Iterator[Any]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()

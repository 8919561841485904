"""Answers that somebody put down as harmful or safe: data for the next run."""

import threading
from pathlib import Path

from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Verdict
from skunlearn.utils.errors import ConfigError, DataError
from skunlearn.utils.files import append_lines, read_lines

NAME = "flagged.jsonl"
WANTED = ("harmful", "safe")


class Flags:
    """`flagged.jsonl` in a run folder: of its rows `--forget` takes the harmful, `--retain` the
    safe.

    Attributes:
        path: the file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.lock = threading.Lock()

    def add(
        self, prompt: str, answer: str, verdict: Verdict | None, wanted: str, model: str
    ) -> None:
        """Put an answer down.

        Args:
            prompt: what was asked.
            answer: what came.
            verdict: the judge's.
            wanted: what the answer is: "harmful" or "safe".
            model: whose answer it is.

        Raises:
            ConfigError: when `wanted` is neither.
            DataError: when there is no answer, or the prompt was put down as the other kind before.
        """
        if wanted not in WANTED:
            raise ConfigError(
                f"an answer cannot be flagged as '{wanted}': give {' or '.join(WANTED)}"
            )
        if not answer.strip():
            raise DataError("there is no answer to flag: ask first, and wait for the end")
        key = Example(prompt).key
        label = verdict.label if verdict else None
        with self.lock:
            before = {
                row["label"] for row in read_lines(self.path) if Example(row["prompt"]).key == key
            }
            if other := before - {wanted}:
                raise DataError(
                    f"this prompt was flagged as {other.pop()} before, and cannot be in both sets: "
                    f"take it out of {self.path} first"
                )
            row = {
                "prompt": prompt,
                "answer": answer,
                "verdict": label,
                "label": wanted,
                "is_safe": wanted == "safe",
            }
            append_lines(self.path, [row | {"model": model}])

    def counts(self) -> dict[str, int]:
        """How many answers were put down as what."""
        with self.lock:
            rows = read_lines(self.path)
        return {wanted: sum(row["label"] == wanted for row in rows) for wanted in WANTED}

"""Answers that a user labelled as harmful or safe: data for the next run."""

import threading
from pathlib import Path

from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Verdict
from skunlearn.utils.errors import ConfigError, DataError
from skunlearn.utils.files import append_lines, read_lines

NAME = "flagged.jsonl"
WANTED = ("harmful", "safe")


class Flags:
    """`flagged.jsonl` in a run folder; `--forget` reads its harmful rows, `--retain` its safe rows.

    Any number of threads may use it.

    Args:
        folder: the run folder.

    Attributes:
        path: the file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.lock = threading.Lock()

    def add(
        self, prompt: str, answer: str, verdict: Verdict | None, wanted: str, model: str
    ) -> None:
        """Write an answer with its label.

        Args:
            prompt: the prompt.
            answer: the completion.
            verdict: the judge's verdict, if there is one.
            wanted: the user's label, "harmful" or "safe".
            model: which model generated the answer.

        Raises:
            ConfigError: when there is no such label.
            DataError: when there is no answer, or the prompt was flagged with the other label.
        """
        if wanted not in WANTED:
            raise ConfigError(
                f"an answer cannot be flagged as '{wanted}': give {' or '.join(WANTED)}"
            )
        if not answer.strip():
            raise DataError("there is no answer to flag: ask first, and wait until it is complete")
        row = {
            "prompt": prompt,
            "answer": answer,
            "verdict": verdict.label if verdict else None,
            "label": wanted,
            "is_safe": wanted == "safe",
            "model": model,
        }
        with self.lock:
            self._check_other_rows(prompt, wanted)
            append_lines(self.path, [row])

    def counts(self) -> dict[str, int]:
        """How many answers have each label."""
        with self.lock:
            rows = read_lines(self.path)
        counts = dict.fromkeys(WANTED, 0)
        for row in rows:
            if row["label"] in counts:
                counts[row["label"]] += 1
        return counts

    def _check_other_rows(self, prompt: str, wanted: str) -> None:
        """Refuse a prompt that would be in the forget set and in the retain set.

        Raises:
            DataError: when the prompt was flagged with another label.
        """
        key = Example(prompt).key
        for row in read_lines(self.path):
            same_prompt = Example(row["prompt"]).key == key
            if same_prompt and row["label"] != wanted:
                raise DataError(
                    f"this prompt was flagged as {row['label']} before, "
                    f"and cannot be in both sets: take it out of {self.path} first"
                )

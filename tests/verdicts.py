"""A judge for tests of the machinery: labels by a hash of prompt and answer, so that they differ
and come again."""

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from skunlearn.evaluation.judges.base import LABELS, Verdict

HERE = f"{Path(__file__)}:HashJudge"


class HashJudge:
    """No opinion at all."""

    name, agreement = "hash", None

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        both = [
            crc32(f"{prompt}\n{answer}".encode())
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return [Verdict(LABELS[value % 4], 1.0, "hash") for value in both]

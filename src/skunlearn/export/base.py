"""The options of an export, and what every format is given and returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from skunlearn.export.out_of_core import CheckpointFiles, StoredEdit
from skunlearn.utils.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ExportOptions:
    """What is written.

    Attributes:
        format: "merged" (a checkpoint), "adapter" (a PEFT adapter) or "gguf" (a GGUF file).
        alpha: strength of the edit, 0 or more; None takes the strength that the run chose.
        dtype: type of the weights. None keeps the base's own types for a checkpoint, and means
            float32 for an adapter and float16 for GGUF. "q8_0" exists in GGUF alone.
        rank: of an adapter that a dense task vector is approximated by, 1 or more. Factors of a
            LoRA run keep their own rank.
    """

    format: Literal["merged", "adapter", "gguf"] = "merged"
    alpha: float | None = None
    dtype: Literal["float32", "bfloat16", "float16", "q8_0"] | None = None
    rank: int = 64

    def __post_init__(self) -> None:
        if self.format not in ("merged", "adapter", "gguf"):
            raise ConfigError(f"--format {self.format}: give merged, adapter or gguf")
        if self.alpha is not None and not 0 <= self.alpha < float("inf"):
            raise ConfigError(
                f"--alpha {self.alpha}: a negative strength would make the harmful model; "
                "give 0 or more"
            )
        is_gguf_q8_0 = self.format == "gguf" and self.dtype == "q8_0"
        if self.dtype not in (None, *DTYPES) and not is_gguf_q8_0:
            raise ConfigError(
                f"--dtype {self.dtype}: give {', '.join(DTYPES)}, or q8_0 with --format gguf"
            )
        if self.rank < 1:
            raise ConfigError(f"--rank {self.rank}: give 1 or more")


@dataclass(frozen=True)
class Job:
    """One export.

    Attributes:
        base: the base model's own folder, for its config and tokenizer.
        checkpoint: the base model's weights.
        edit: what is added to them.
        options: what is written.
        name: of the base model, for readers.
        trust_remote_code: whether code that comes with the base may be run and is copied.
    """

    base: Path
    checkpoint: CheckpointFiles
    edit: StoredEdit
    options: ExportOptions
    name: str
    trust_remote_code: bool = False

    @property
    def dtype(self) -> torch.dtype | None:
        """The torch type in the options; None when there is none, and for "q8_0"."""
        return DTYPES.get(self.options.dtype or "")


@dataclass(frozen=True)
class Finding:
    """The result of one check by `verify`.

    Attributes:
        name: what was checked.
        outcome: "ok", "differs", or "not checked".
        detail: how it was checked, where it differs, or why it could not be checked.
    """

    name: str
    outcome: Literal["ok", "differs", "not checked"]
    detail: str

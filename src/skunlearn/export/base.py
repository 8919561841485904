"""What every format is given, and its options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from skunlearn.export.out_of_core import Checkpoint, StoredEdit
from skunlearn.utils.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ExportOptions:
    """What is written.

    Attributes:
        format: a checkpoint, a PEFT adapter, or a GGUF file.
        alpha: strength, 0 or more; the run's own when not given.
        dtype: of the weights; by default the base's own for merged, float32 for an adapter, float16
            for GGUF, which alone knows q8_0.
        rank: of an adapter made of a dense task vector (1 or more); factors keep their own.
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
                f"--alpha {self.alpha}: a negative strength would make the harmful model; give 0 or more"
            )
        if self.dtype not in (None, *DTYPES) and (self.dtype, self.format) != ("q8_0", "gguf"):
            raise ConfigError(
                f"--dtype {self.dtype}: give {', '.join(DTYPES)}, or q8_0 with --format gguf"
            )
        if self.rank < 1:
            raise ConfigError(f"--rank {self.rank}: give 1 or more")


@dataclass(frozen=True)
class Job:
    """One export.

    Attributes:
        base: the base's own folder, for config and tokenizer.
        checkpoint: its weights.
        edit: what is added to them.
        options: what is written.
        name: of the base, as a reader knows it.
        trust_remote_code: whether the base's code may be run and is copied.
    """

    base: Path
    checkpoint: Checkpoint
    edit: StoredEdit
    options: ExportOptions
    name: str
    trust_remote_code: bool = False

    @property
    def dtype(self) -> torch.dtype | None:
        """The float type asked for, if one is."""
        return DTYPES.get(self.options.dtype or "")


@dataclass(frozen=True)
class Finding:
    """What `verify` found out about one thing.

    Attributes:
        name: what was checked.
        outcome: "ok", "differs", or "not checked".
        detail: how, where, or why not.
    """

    name: str
    outcome: Literal["ok", "differs", "not checked"]
    detail: str

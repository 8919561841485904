"""Safetensors files read and written by rows, so that a file may be larger than memory.

Eight bytes with the header's length, a JSON header (name -> dtype, shape, offsets), the tensors'
bytes. The library maps files into memory, which counts as memory in use, and writes whole ones
only.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from skunlearn.utils.errors import ModelError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file.

    Attributes:
        dtype: of its values.
        shape: of the tensor; it is read and written as `rows` x `columns`, the last dimension being
            the columns.
        start: first byte in the file.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int = 0

    @property
    def columns(self) -> int:
        """Length of the last dimension."""
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        """Product of the others."""
        return prod(self.shape[:-1])

    @property
    def bytes(self) -> int:
        """Size in the file."""
        return prod(self.shape) * self.dtype.itemsize


class Shard:
    """A safetensors file whose tensors are read by rows.

    Attributes:
        path: the file.
        entries: tensors by name, in the file's order.
        metadata: the header's own texts.

    Raises:
        ModelError: when the file is missing, broken or of a type unknown here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 0 < length < path.stat().st_size:
                    raise ValueError("it has no header")
                header = json.loads(file.read(length))
            self.metadata: dict[str, str] = header.pop("__metadata__", {})
            found = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
            self.entries = {
                name: Entry(
                    DTYPES[fact["dtype"]],
                    tuple(fact["shape"]),
                    8 + length + fact["data_offsets"][0],
                )
                for name, fact in found
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{path}: not a readable safetensors file ({error!s:.80}): fetch it again"
            ) from error
        end = max((entry.start + entry.bytes for entry in self.entries.values()), default=0)
        if end > path.stat().st_size:
            raise ModelError(
                f"{path}: {end - path.stat().st_size} bytes are missing at its end: fetch it again"
            )

    def rows(self, name: str, first: int = 0, last: int | None = None) -> torch.Tensor:
        """Rows `first` to `last` (exclusive; all when not given) of a tensor, as a matrix."""
        entry = self.entries[name]
        last = entry.rows if last is None else last
        block = torch.empty((last - first, entry.columns), dtype=entry.dtype)
        with self.path.open("rb", buffering=0) as file:
            file.seek(entry.start + first * entry.columns * entry.dtype.itemsize)
            view = _bytes(block)
            while view:
                if not (read := file.readinto(view)):
                    raise ModelError(f"{self.path}: ends within '{name}': fetch it again")
                view = view[read:]
        return block


def write_shard(
    path: Path,
    entries: Mapping[str, Entry],
    blocks: Iterable[torch.Tensor],
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file, which takes its name when it is whole.

    Args:
        path: the file.
        entries: type and shape by name, in the order of the file.
        blocks: all tensors' values in that order, in any pieces.
        metadata: the header's own texts.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, entry in entries.items():
        offsets = [end, end + entry.bytes]
        header[name] = {
            "dtype": NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": offsets,
        }
        end = offsets[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_name(path.name + ".partial")
    written = 0
    with partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for block in blocks:
            written += file.write(_bytes(block.contiguous()))
    if written != end:
        raise ModelError(
            f"{path}: {written} bytes were made for {end}: this is a bug, please report it"
        )
    partial.replace(path)


def _bytes(block: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    values: Any = block.reshape(-1).view(torch.uint8).numpy()
    return memoryview(values)

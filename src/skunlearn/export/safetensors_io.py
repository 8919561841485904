"""Safetensors files read and written by rows, so that a file may be larger than memory.

A safetensors file is

    8 bytes                   the length of the header, little-endian
    the header                JSON: tensor name -> {"dtype", "shape", "data_offsets"}, and the
                              optional texts under "__metadata__"
    the values                of all tensors, one after the other

"data_offsets" are the first byte of a tensor and the one after its last, counted from the end of
the header.

The safetensors library maps whole files into memory, which counts as memory in use, and can only
write tensors that are all in memory. This module reads and writes a few rows at a time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from skunlearn.models.files import LENGTH_BYTES, check_is_no_stand_in, read_header
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

    A tensor of any shape is read and written as a matrix of `rows` x `columns`. The last dimension
    becomes the columns.

    Attributes:
        dtype: type of its values.
        shape: shape of the tensor.
        start: position of its first byte in the file; unused in an entry that is to be written.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int = 0

    @property
    def columns(self) -> int:
        """Length of the last dimension; 1 for a scalar."""
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        """Product of the other dimensions; 1 for a vector or a scalar."""
        return prod(self.shape[:-1])

    @property
    def bytes(self) -> int:
        """Size of the values in bytes."""
        return prod(self.shape) * self.dtype.itemsize


class Shard:
    """A safetensors file whose tensors can be read by rows.

    Attributes:
        path: the file.
        entries: the tensors by name, in the order of their values in the file.
        metadata: the texts under "__metadata__" in the header.

    Raises:
        ModelError: when the file is missing, broken, or has a tensor of an unknown type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            check_is_no_stand_in(path)
        try:
            self.metadata, self.entries = _entries(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{path}: not a readable safetensors file ({error!s:.80}): fetch it again"
            ) from error
        ends = [entry.start + entry.bytes for entry in self.entries.values()]
        missing = max(ends, default=0) - path.stat().st_size
        if missing > 0:
            raise ModelError(f"{path}: {missing} bytes are missing at its end: fetch it again")

    def rows(self, name: str, first: int = 0, last: int | None = None) -> torch.Tensor:
        """Read rows of a tensor as a matrix.

        Args:
            name: of the tensor.
            first: the first row.
            last: the row after the last one; None reads to the end.

        Returns:
            (last - first, columns), in the tensor's own type.

        Raises:
            ModelError: when the file ends before the last row.
        """
        entry = self.entries[name]
        if last is None:
            last = entry.rows
        block = torch.empty((last - first, entry.columns), dtype=entry.dtype)
        with self.path.open("rb", buffering=0) as file:
            file.seek(entry.start + first * entry.columns * entry.dtype.itemsize)
            # One read may return less than what is left, so read until the block is full.
            unread = _bytes(block)
            while unread:
                count = file.readinto(unread)
                if not count:
                    raise ModelError(f"{self.path}: ends within '{name}': fetch it again")
                unread = unread[count:]
        return block


def _entries(path: Path) -> tuple[dict[str, str], dict[str, Entry]]:
    """The metadata and the entries of a file."""
    header, first = read_header(path)
    metadata: dict[str, str] = header.pop("__metadata__", {})
    entries: dict[str, Entry] = {}
    for name, fact in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start = first + fact["data_offsets"][0]
        entries[name] = Entry(DTYPES[fact["dtype"]], tuple(fact["shape"]), start)
    return metadata, entries


def write_shard(
    path: Path,
    entries: Mapping[str, Entry],
    blocks: Iterable[torch.Tensor],
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file from blocks of values.

    The file is written as `path` with ".partial" behind it, and renamed when it is whole.

    Args:
        path: the file.
        entries: type and shape of each tensor by name, in the order of the file.
        blocks: the values of all tensors in that order, in pieces of any size.
        metadata: texts for the header.

    Raises:
        ModelError: when the blocks hold more or fewer bytes than the entries say.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    size = 0
    for name, entry in entries.items():
        header[name] = {
            "dtype": NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [size, size + entry.bytes],
        }
        size += entry.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8 bytes
    partial = path.with_name(path.name + ".partial")
    written = 0
    with partial.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for block in blocks:
            written += file.write(_bytes(block.contiguous()))
    if written != size:
        raise ModelError(
            f"{path}: {written} bytes were made for {size}: this is a bug, please report it"
        )
    partial.replace(path)


def _bytes(block: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor, which is shared and not copied."""
    values: Any = block.reshape(-1).view(torch.uint8).numpy()
    return memoryview(values)

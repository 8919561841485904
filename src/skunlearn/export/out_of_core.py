"""theta_o + edit from safetensors files to safetensors files, a block of rows at a time.

Neither the model nor a dense task vector is ever in memory as a whole. For each tensor of the base
and each block of its rows:

    1. read these rows of the base;
    2. read these rows of every task vector's change, and make strength * sum(scale * change);
    3. add in fp32, cast, and write.

The numbers are those of `TaskVector.apply_to` to the last bit: the vectors are scaled and summed by
the same function, products of factors are computed in the same blocks of rows
(`task_vectors/delta.py`), and the sum with the base is taken in fp32.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from skunlearn.export.safetensors_io import Entry, Shard, write_shard
from skunlearn.export.stored_edit import StoredEdit
from skunlearn.models import files
from skunlearn.models.compat import parameter_names
from skunlearn.models.files import INDEX, SINGLE
from skunlearn.models.loading import LoadOptions, skeleton
from skunlearn.task_vectors.delta import block_rows, dense
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

# The edit that is written belongs to this module's interface.
__all__ = ["INDEX", "SINGLE", "CheckpointFiles", "StoredEdit", "weight_files"]


class CheckpointFiles:
    """A folder of safetensors, and which parameter of the model each tensor is.

    Args:
        folder: with config.json, and model.safetensors or its shards with their index.
        trust_remote_code: run code that comes with the model.

    Attributes:
        model: the architecture without weights (on the meta device).
        shards: the files by name.
        parameters: name of a tensor -> name of its parameter. A tensor that is tied to another one
            has the other one's parameter. Tensors that transformers converts when it loads them are
            left out.

    Raises:
        ModelError: when the folder is not such a checkpoint, or is quantised.
    """

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        self.folder = folder
        self.shards = {name: Shard(folder / name) for name in weight_files(folder)}
        self.model = _model_without_weights(folder, trust_remote_code)
        self.parameters = self._parameter_names()

    def _parameter_names(self) -> dict[str, str]:
        """Name every tensor as transformers itself would when it loads the checkpoint."""
        names: list[str] = []
        for shard in self.shards.values():
            names += shard.entries
        return dict(parameter_names(self.model, names))

    def check_fits(self, edit: StoredEdit) -> None:
        """Check that the checkpoint has every parameter that the edit changes.

        Raises:
            ModelError: with the first one that is missing, has another shape, or is quantised.
        """
        found = set()
        for shard in self.shards.values():
            for name, entry in shard.entries.items():
                parameter = self.parameters.get(name, "")
                if parameter not in edit.shapes:
                    continue
                found.add(parameter)
                if entry.shape != edit.shapes[parameter]:
                    raise ModelError(
                        f"{shard.path}: '{name}' has shape {entry.shape}, the task vector "
                        f"{edit.shapes[parameter]}: it belongs to another model"
                    )
                if not entry.dtype.is_floating_point or entry.dtype.itemsize < 2:
                    raise ModelError(
                        f"{shard.path}: '{name}' is quantised ({entry.dtype}): "
                        "give the unquantised base"
                    )
        missing = sorted(set(edit.shapes) - found)
        if missing:
            raise ModelError(
                f"{self.folder}: no tensor for parameter '{missing[0]}' ({len(missing)} such): "
                "it is another model, or one whose weights transformers regroups when it loads "
                "them: use 'skunlearn run --save' then"
            )

    def blocks(
        self, shard: Shard, name: str, edit: StoredEdit, dtype: torch.dtype | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """Compute one tensor with the edit, block by block.

        Args:
            shard: the file that the tensor is in.
            name: of the tensor.
            edit: what is added.
            dtype: type of the result; None keeps the tensor's own.

        Yields:
            (edited rows, the same rows of the edit in fp32). The second is None for a tensor that
            the edit does not change.

        Raises:
            ModelError: when a value is too large for the type.
        """
        entry = shard.entries[name]
        parameter = self.parameters.get(name, "")
        result_dtype = written_dtype(entry, dtype)
        height = block_rows(entry.columns)
        for first in range(0, entry.rows, height):
            last = min(first + height, entry.rows)
            rows = shard.rows(name, first, last)
            change = None
            if parameter in edit.shapes:
                change = dense(edit.delta(parameter, first, last))
                rows = rows.float() + change
            written = rows.to(result_dtype)
            if result_dtype.is_floating_point and not bool(written.isfinite().all()):
                raise ModelError(
                    f"'{name}' does not fit {result_dtype}: "
                    "give a smaller --alpha, or --dtype float32"
                )
            yield written, change

    def write(
        self, folder: Path, edit: StoredEdit, dtype: torch.dtype | None, progress: Progress
    ) -> None:
        """Write the edited weights and their index: the same files with the same tensors.

        Args:
            folder: where to. Each file gets its name when it is whole; the index comes last.
            edit: what is added.
            dtype: type of all floating tensors; None keeps each one's own.
            progress: reports every tensor.
        """
        self.check_fits(edit)
        weight_map: dict[str, str] = {}
        for file, shard in self.shards.items():
            weight_map.update(dict.fromkeys(shard.entries, file))
        progress.start("writing tensors", sum(len(s.entries) for s in self.shards.values()))
        done = size = 0
        for file, shard in self.shards.items():
            layout = _layout(shard, dtype)
            pieces = self._pieces(shard, list(layout), edit, dtype, progress, done)
            write_shard(folder / file, layout, pieces, {"format": "pt"} | shard.metadata)
            done += len(layout)
            size += sum(entry.bytes for entry in layout.values())
        progress.stop()
        if list(self.shards) != [SINGLE]:
            index = {"metadata": {"total_size": size}, "weight_map": weight_map}
            (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")

    def _pieces(
        self,
        shard: Shard,
        names: Sequence[str],
        edit: StoredEdit,
        dtype: torch.dtype | None,
        progress: Progress,
        done: int,
    ) -> Iterator[torch.Tensor]:
        """The edited values of a file's tensors in this order; `done` tensors came before them."""
        for number, name in enumerate(names, start=done + 1):
            for rows, _ in self.blocks(shard, name, edit, dtype):
                yield rows
            progress.step(number)


def _layout(shard: Shard, dtype: torch.dtype | None) -> dict[str, Entry]:
    """The entries of a file when it is written in `dtype`.

    The widest types come first, so that every tensor begins at a multiple of its item size.
    """
    entries = {}
    for name, entry in shard.entries.items():
        entries[name] = Entry(written_dtype(entry, dtype), entry.shape)
    return dict(sorted(entries.items(), key=lambda item: -item[1].dtype.itemsize))


def written_dtype(entry: Entry, dtype: torch.dtype | None) -> torch.dtype:
    """The type that a tensor is written in.

    It is `dtype` for floating tensors of two or more bytes a value, and the tensor's own for all
    others or when `dtype` is None.
    """
    castable = entry.dtype.is_floating_point and entry.dtype.itemsize > 1
    return dtype if dtype and castable else entry.dtype


def weight_files(folder: Path) -> list[str]:
    """Names of a checkpoint's safetensors files.

    Raises:
        ModelError: when there are none, there are two saves, or the index names a file that is not
            there.
    """
    names = files.weight_files(folder) if files.has_safetensors(folder) else []
    if not names:
        raise ModelError(
            f"{folder}: no {SINGLE} and no {INDEX}: give a checkpoint folder with safetensors"
        )
    return names


def _model_without_weights(folder: Path, trust_remote_code: bool) -> Any:
    """Build the model of a checkpoint folder on the meta device.

    Raises:
        ModelError: when the config cannot be used, or says that the weights are quantised.
    """
    model = skeleton(folder, LoadOptions(trust_remote_code=trust_remote_code))
    if getattr(model.config, "quantization_config", None):
        raise ModelError(f"{folder}: its weights are quantised: give the unquantised base")
    return model

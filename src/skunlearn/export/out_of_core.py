"""theta_o + edit from safetensors files to safetensors files, a block of rows at a time.

Neither the model nor a dense task vector is ever in memory. The numbers are those of
`TaskVector.apply_to` bit for bit: the same operators, the same blocks of the factors' product, the
sum in fp32.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from skunlearn.export.safetensors_io import Entry, Shard, write_shard
from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector, block_rows, check_header
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


class StoredEdit:
    """`strength * sum(scale * vector)` of task vectors that stay in their files.

    Args:
        parts: (file of a task vector, what strength 1 adds of it).
        strength: 0 or more.

    Attributes:
        shapes: of the parameters it moves, by name.

    Raises:
        ModelError: when a file is no task vector, or the edit points at the bad model.
    """

    def __init__(self, parts: Sequence[tuple[Path, float]], strength: float) -> None:
        self.strength = strength
        self.parts = [
            (shard := Shard(path), scale, check_header(shard.metadata, path))
            for path, scale in parts
        ]
        self.shapes: dict[str, tuple[int, ...]] = {}
        for shard, _, _ in self.parts:
            for name, entry in shard.entries.items():
                weight, _, side = name.partition("::")
                if side != "right":
                    columns = shard.entries[f"{weight}::right"].shape[1:] if side else ()
                    self.shapes[weight] = (entry.shape[0], *columns) if side else entry.shape
        self._sum([TaskVector({}, safety) for _, _, safety in self.parts]).check_safe()

    def delta(self, name: str, first: int = 0, last: int | None = None) -> Delta:
        """Rows `first` to `last` of one parameter's share; factors stay factors."""
        return self._sum(
            [
                TaskVector(
                    {} if (delta := _rows(shard, name, first, last)) is None else {name: delta},
                    safety,
                )
                for shard, _, safety in self.parts
            ]
        ).deltas[name]

    def _sum(self, vectors: list[TaskVector]) -> TaskVector:
        scaled = [scale * vector for vector, (_, scale, _) in zip(vectors, self.parts, strict=True)]
        return self.strength * sum(scaled[1:], scaled[0])


def _rows(shard: Shard, name: str, first: int, last: int | None) -> Delta | None:
    if name in shard.entries:
        return shard.rows(name, first, last)
    if f"{name}::left" in shard.entries:
        return LowRank(shard.rows(f"{name}::left", first, last), shard.rows(f"{name}::right"))
    return None


class Checkpoint:
    """A folder of safetensors and the names that its tensors have in the model.

    Args:
        folder: with config.json and model.safetensors or its shards.
        trust_remote_code: run code that comes with the model.

    Attributes:
        model: the architecture without weights (on the meta device).
        shards: files by name.
        parameters: name of the parameter, by name of the tensor; one that is tied to another has
            the other's name.

    Raises:
        ModelError: when the folder is not such a checkpoint, or is quantised.
    """

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        self.folder = folder
        self.shards = {name: Shard(folder / name) for name in weight_files(folder)}
        self.model = skeleton(folder, trust_remote_code)
        self.parameters = dict(
            self._named([name for shard in self.shards.values() for name in shard.entries])
        )

    def _named(self, names: list[str]) -> Iterator[tuple[str, str]]:
        """By the renamings that transformers itself applies; what it converts on loading has no
        name here."""
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, rename_source_key

        changes = get_model_conversion_mapping(self.model)
        converters = [change for change in changes if isinstance(change, WeightConverter)]
        renamings = [change for change in changes if not isinstance(change, WeightConverter)]
        known = dict(self.model.state_dict())
        tied = self.model.all_tied_weights_keys
        for name in names:
            renamed, converted = rename_source_key(
                name, renamings, converters, self.model.base_model_prefix, known
            )
            if converted is None:
                yield name, tied.get(renamed, renamed)

    def check_fits(self, edit: StoredEdit) -> None:
        """Every parameter that the edit moves must be there, once for each name it has.

        Raises:
            ModelError: with the first that is not, has another shape, or is quantised.
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
                        f"{shard.path}: '{name}' has shape {entry.shape}, the task vector {edit.shapes[parameter]}: "
                        "it belongs to another model"
                    )
                if not entry.dtype.is_floating_point or entry.dtype.itemsize < 2:
                    raise ModelError(
                        f"{shard.path}: '{name}' is quantised ({entry.dtype}): give the unquantised base"
                    )
        if missing := sorted(set(edit.shapes) - found):
            raise ModelError(
                f"{self.folder}: no tensor for parameter '{missing[0]}' ({len(missing)} such): it is another model, or "
                "one whose weights transformers regroups when it loads them: use 'skunlearn run --save' then"
            )

    def blocks(
        self, shard: Shard, name: str, edit: StoredEdit, dtype: torch.dtype | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """(edited rows, rows of the edit or None) of one tensor, block by block, in `dtype` or its
        own."""
        entry, parameter = shard.entries[name], self.parameters.get(name, "")
        wanted = target(entry, dtype)
        step = block_rows(entry.columns)
        for first in range(0, entry.rows, step):
            last = min(first + step, entry.rows)
            rows, dense = shard.rows(name, first, last), None
            if parameter in edit.shapes:
                delta = edit.delta(parameter, first, last)
                dense = delta.dense() if isinstance(delta, LowRank) else delta
                rows = rows.float() + dense
            written = rows.to(wanted)
            if wanted.is_floating_point and not bool(written.isfinite().all()):
                raise ModelError(
                    f"'{name}' does not fit {wanted}: give a smaller --alpha, or --dtype float32"
                )
            yield written, dense

    def write(
        self, folder: Path, edit: StoredEdit, dtype: torch.dtype | None, progress: Progress
    ) -> None:
        """Write the edited weights and their index: the same files with the same tensors.

        Args:
            folder: where to; files there take their names when they are whole, the index comes
                last.
            edit: what is added.
            dtype: of all floating tensors; each keeps its own when None.
            progress: is told of each tensor.
        """
        self.check_fits(edit)
        progress.start("writing tensors", sum(len(shard.entries) for shard in self.shards.values()))
        done = size = 0
        for name, shard in self.shards.items():
            layout = {
                key: Entry(target(entry, dtype), entry.shape)
                for key, entry in shard.entries.items()
            }
            layout = dict(
                sorted(layout.items(), key=lambda item: -item[1].dtype.itemsize)
            )  # each lies aligned

            def pieces(
                shard: Shard = shard, layout: dict[str, Entry] = layout
            ) -> Iterator[torch.Tensor]:
                nonlocal done
                for key in layout:
                    yield from (rows for rows, _ in self.blocks(shard, key, edit, dtype))
                    done += 1
                    progress.step(done)

            write_shard(folder / name, layout, pieces(), {"format": "pt"} | shard.metadata)
            size += sum(entry.bytes for entry in layout.values())
        progress.stop()
        if list(self.shards) != [SINGLE]:
            index = {
                "metadata": {"total_size": size},
                "weight_map": {
                    key: name for name, shard in self.shards.items() for key in shard.entries
                },
            }
            (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def target(entry: Entry, dtype: torch.dtype | None) -> torch.dtype:
    """The type a tensor is written in: `dtype` for floating ones of two bytes or more, else its
    own."""
    return (
        dtype
        if dtype and entry.dtype.is_floating_point and entry.dtype.itemsize > 1
        else entry.dtype
    )


def weight_files(folder: Path) -> list[str]:
    """Names of a checkpoint's safetensors files.

    Raises:
        ModelError: when there are none, or the index names one that is not there.
    """
    if (folder / INDEX).is_file():
        try:
            names = sorted(
                set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{folder / INDEX}: not a readable index ({error!s:.80}): fetch it again"
            ) from error
        if lost := [
            name for name in names if Path(name).name != name or not (folder / name).is_file()
        ]:
            raise ModelError(
                f"{folder / lost[0]}: the index names it, but it is not there: fetch it again"
            )
        return names
    if (folder / SINGLE).is_file():
        return [SINGLE]
    raise ModelError(
        f"{folder}: no {SINGLE} and no {INDEX}: give a checkpoint folder with safetensors"
    )


def skeleton(folder: Path, trust_remote_code: bool = False) -> Any:
    """The model of a checkpoint folder without its weights.

    Raises:
        ModelError: when the config cannot be used, or says that the weights are quantised.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        if getattr(config, "quantization_config", None):
            raise ValueError("its weights are quantised: give the unquantised base")
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:  # the config decides which of a dozen kinds transformers raises
        raise ModelError(
            f"{folder}: no causal model can be made of its config: {error!s:.160}"
        ) from error

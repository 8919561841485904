"""An edit whose task vectors stay in their files and are read by rows.

In memory there are only the rows that are being edited, and the right factors of LoRA updates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skunlearn.export.safetensors_io import Shard
from skunlearn.task_vectors.delta import Delta, LowRank
from skunlearn.task_vectors.vector import LEFT, RIGHT, TaskVector, check_header, weighted_sum


@dataclass(frozen=True)
class StoredVector:
    """A task vector that stays in its file, and its share of the edit.

    Attributes:
        shard: the file.
        scale: what the vector is multiplied by at strength 1.
        safety: as in `TaskVector`.
    """

    shard: Shard
    scale: float
    safety: float

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight that the vector changes, by parameter name."""
        found: dict[str, tuple[int, ...]] = {}
        for name, entry in self.shard.entries.items():
            if name.endswith(RIGHT):
                continue  # it is read with its left factor
            if name.endswith(LEFT):
                weight = name.removesuffix(LEFT)
                inputs = self.shard.entries[weight + RIGHT].shape[1:]
                found[weight] = (entry.shape[0], *inputs)
            else:
                found[name] = entry.shape
        return found

    def rows(self, name: str, first: int, last: int | None) -> TaskVector:
        """A vector of rows `first` to `last` of one weight; empty when it does not change it."""
        deltas: dict[str, Delta] = {}
        if name in self.shard.entries:
            deltas[name] = self.shard.rows(name, first, last)
        elif name + LEFT in self.shard.entries:
            # The rows of a product A B are the rows of A, times the whole of B.
            left_OR = self.shard.rows(name + LEFT, first, last)
            deltas[name] = LowRank(left_OR, self.shard.rows(name + RIGHT))
        return TaskVector(deltas, self.safety)


class StoredEdit:
    """`strength * sum(scale * vector)` of task vectors that stay in their files.

    Args:
        parts: (file of a task vector, its scale), at least one.
        strength: 0 or more.

    Attributes:
        shapes: shape of each weight that the edit changes, by parameter name.

    Raises:
        ModelError: when a file is no task vector, or the edit points at the harmful model.
    """

    def __init__(self, parts: Sequence[tuple[Path, float]], strength: float) -> None:
        self.strength = strength
        self.vectors: list[StoredVector] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path, scale in parts:
            shard = Shard(path)
            vector = StoredVector(shard, scale, check_header(shard.metadata, path))
            self.vectors.append(vector)
            self.shapes.update(vector.shapes())
        # The same sum of vectors without weights has the edit's safety.
        safety_alone = [(one.scale, TaskVector({}, one.safety)) for one in self.vectors]
        (strength * weighted_sum(safety_alone)).check_safe()

    def delta(self, name: str, first: int = 0, last: int | None = None) -> Delta:
        """Rows of the edit's change of one weight; factors stay factors.

        Args:
            name: of the parameter, one of `shapes`.
            first: the first row.
            last: the row after the last one; None reads to the end.
        """
        rows = [(vector.scale, vector.rows(name, first, last)) for vector in self.vectors]
        edit = self.strength * weighted_sum(rows)
        return edit.deltas[name]

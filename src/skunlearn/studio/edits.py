"""What a finished run adds to its base at strength 1, as it is or through other filters."""

from typing import Any

from skunlearn.data.dataset import Data
from skunlearn.models.lm import LM
from skunlearn.task_vectors.filters import FILTERS
from skunlearn.task_vectors.filters.base import filtered
from skunlearn.task_vectors.filters.mean import Mean
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.retain_statistics import RetainStatistics
from skunlearn.utils.errors import ConfigError, RunError
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean, resolve
from skunlearn.workflows.run_folder import FinishedRun
from skunlearn.workflows.unlearn import filter_context

AS_RUN = "as in the run"
NONE = "no filter"
PRESETS = (AS_RUN, NONE, "trim", "low_rank", "null_space", "collapse")
KEPT = 3  # a dense vector is as large as the weights that it moves


class Edits:
    """The edits of one run, each made when it is first asked for.

    Args:
        source: the run.
        lm: its base, at rest whenever `get` is called: some filters look at it.
        progress: is told of that.
    """

    def __init__(self, source: FinishedRun, lm: LM, progress: Progress) -> None:
        self.source, self.lm, self.progress = source, lm, progress
        self.made: dict[str, TaskVector] = {}

    def get(self, preset: str) -> TaskVector:
        """The edit at strength 1.

        Args:
            preset: one of `PRESETS`; a filter has its default options, and takes the method's
                vectors as trained.

        Raises:
            ConfigError: when there is no such preset.
            RunError: when a filter needs the run's data, and it is not what it was.
        """
        if preset not in PRESETS:
            raise ConfigError(f"unknown filter preset '{preset}': {did_you_mean(preset, PRESETS)}")
        if preset not in self.made:
            while len(self.made) >= KEPT:
                del self.made[next(iter(self.made))]
            self.made[preset] = self._make(preset)
        return self.made[preset]

    def exported(self, preset: str) -> bool:
        """Whether this is the edit that the run folder holds, the one that can be exported."""
        return preset == AS_RUN or (preset == NONE and not self.source.run.edit.filters)

    def _make(self, preset: str) -> TaskVector:
        if self.exported(preset):
            (first, scale), *others = self.source.parts
            edit = scale * TaskVector.load(first)
            for path, scale in others:
                edit = edit + scale * TaskVector.load(path)
            return edit
        run = self.source.run
        method = run.make_method()
        loaded = [
            (s, TaskVector.load(self.source.folder / f"{s.name}.safetensors"))
            for s in run.stages(method)
        ]
        own = [vector for stage, vector in loaded if stage.method is method]
        filters: list[Any] = [Mean()] if len(own) > 1 else []
        filters += [] if preset == NONE else [resolve(preset, FILTERS, "filter")()]
        self.progress.note(f"making the edit with the filter preset '{preset}', once")
        edit = loaded[0][0].scale * filtered(filters, own, self._context(preset))
        for stage, vector in loaded[len(own) :]:
            edit = edit + stage.scale * vector
        return edit

    def _context(self, preset: str) -> RetainStatistics:
        if preset != "null_space":
            return RetainStatistics(self.lm, (), self.progress)
        run = self.source.run
        data = Data(run.forget, run.retain, run.data)
        if digest(data.fingerprint) != self.source.settings["data"]:
            raise RunError(
                f"{self.source.folder}: the data of this run is not what it was, so '{preset}' would differ"
            )
        return filter_context(self.lm, data, self.progress)

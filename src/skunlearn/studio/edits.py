"""The edit of a finished run at strength 1, as it was trained or through another filter."""

from skunlearn.data.dataset import Data
from skunlearn.data.fitting import fitting_data
from skunlearn.models.lm import LM
from skunlearn.task_vectors.filters import FILTERS
from skunlearn.task_vectors.filters.base import Filter, filtered
from skunlearn.task_vectors.filters.mean import Mean
from skunlearn.task_vectors.vector import TaskVector, weighted_sum
from skunlearn.training.retain_statistics import RetainStatistics
from skunlearn.utils.errors import ConfigError, RunError
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean, resolve
from skunlearn.workflows.run_folder import FinishedRun, RunFolder
from skunlearn.workflows.training_rows import with_training_rows
from skunlearn.workflows.unlearn import filter_context

AS_RUN = "as in the run"
NONE = "no filter"
PRESETS = (AS_RUN, NONE, "trim", "low_rank", "null_space", "conditional", "collapse")
# Few edits are kept in memory: a dense one is as large as the weights that it changes.
KEPT = 3


class Edits:
    """The edits of one run, each made when it is first needed.

    Args:
        source: the run.
        lm: its base model. Some filters run it, so it must be unedited whenever `get` is called.
        progress: reports when an edit is made.

    Attributes:
        made: the edits made last, by preset, from the oldest to the newest.
    """

    def __init__(self, source: FinishedRun, lm: LM, progress: Progress) -> None:
        self.source = source
        self.lm = lm
        self.progress = progress
        self.made: dict[str, TaskVector] = {}

    def get(self, preset: str) -> TaskVector:
        """The edit at strength 1.

        Args:
            preset: one of `PRESETS`. A filter has its default options and is applied to the
                method's task vectors as they were trained.

        Raises:
            ConfigError: when there is no such preset.
            RunError: when a filter needs the run's data, and the data has changed.
        """
        if preset not in PRESETS:
            raise ConfigError(f"unknown filter preset '{preset}': {did_you_mean(preset, PRESETS)}")
        if preset not in self.made:
            while len(self.made) >= KEPT:
                oldest = next(iter(self.made))
                del self.made[oldest]
            self.made[preset] = self._make(preset)
        return self.made[preset]

    def exported(self, preset: str) -> bool:
        """Whether the run folder holds this edit, so that it can be exported."""
        return preset == AS_RUN or (preset == NONE and not self.source.run.edit.filters)

    def _make(self, preset: str) -> TaskVector:
        if self.exported(preset):
            return self.source.edit_at_strength_1()

        # Load the vectors as trained: the method's own, then those of other stages (refusals).
        run = self.source.run
        method = run.make_method()
        stages = run.stages(method)
        own: list[TaskVector] = []
        others: list[tuple[float, TaskVector]] = []
        for stage in stages:
            vector = TaskVector.load(self.source.folder / f"{stage.name}.safetensors")
            if stage.method is method:
                own.append(vector)
            else:
                others.append((stage.scale, vector))

        # Only the method's vectors are filtered; several are averaged first.
        filters: list[Filter] = []
        if len(own) > 1:
            filters.append(Mean())
        if preset != NONE:
            filters.append(resolve(preset, FILTERS, "filter")())
        self.progress.note(f"making the edit with the filter preset '{preset}', once")
        of_method = filtered(filters, own, self._context(preset))
        return weighted_sum([(stages[0].scale, of_method), *others])

    def _context(self, preset: str) -> RetainStatistics:
        """What the filter may measure on the base model, for those that need rows of the data.

        Raises:
            RunError: when the run's data has changed.
        """
        if preset not in ("null_space", "conditional"):
            return RetainStatistics(self.lm, (), self.progress)
        run = self.source.run
        data = Data(run.forget, run.retain, run.data)
        if digest(data.fingerprint) != self.source.settings["data"]:
            raise RunError(
                f"{self.source.folder}: the data of this run has changed since, "
                f"so '{preset}' would give another edit"
            )
        data = fitting_data(self.lm.template, data)
        folder = RunFolder(self.source.folder)
        data = with_training_rows(self.lm, data, run, folder, self.progress)
        return filter_context(self.lm, data, self.progress)

"""A whole run: train, choose the strength, evaluate, check the gates, report.

The stages, in order:

1. `learn` trains the task vectors and adds them up to the edit.
2. The strength is chosen on the validation split.
3. Base and edited model are evaluated on the test split.
4. Results and report are written; with `save`, the edited checkpoint too.

Each stage leaves its result in the run folder. The same command again loads what is finished and
goes on where the run was interrupted.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skunlearn.attacks.battery import make_battery
from skunlearn.data.dataset import Data
from skunlearn.data.fitting import fitting_data
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import Evaluation, Evaluator, check_names
from skunlearn.evaluation.metrics.catalog import direction, format_interval, format_score, title
from skunlearn.evaluation.results import comparison, environment
from skunlearn.evaluation.strength import choose_strength
from skunlearn.methods.base import Method
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.report.run_page import write_report
from skunlearn.report.wording import gate_numbers
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.trackers import check_tracker
from skunlearn.utils.consent import name_own
from skunlearn.utils.files import JsonDict, make_private, read_json, write_json, write_text
from skunlearn.utils.hashing import digest
from skunlearn.utils.notebook import table
from skunlearn.utils.progress import Progress
from skunlearn.workflows.attack import attack_job
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.plan import make_plan
from skunlearn.workflows.run_folder import RunFolder, RunResults, settings_of
from skunlearn.workflows.unlearn import learn, losses, vectors_name

SECONDS = "seconds.json"


class Results(dict[str, Any]):
    """The contents of `results.json`, shown in a notebook as verdict, gates and scores."""

    def _repr_html_(self) -> str:
        gates = []
        for gate in self["gates"]:
            outcome = "passed" if gate["passed"] else "FAILED"
            gates.append((outcome, gate["text"], *gate_numbers(gate)))
        verdict = f"{self['verdict']}, strength {self['alpha']:g}"

        base = self["scores"]["base"]
        scores = []
        for name, score in self["scores"]["edited"].items():
            before = format_score(base.get(name))
            after = format_score(score)
            row = (title(name), before, after, format_interval(score), direction(score))
            scores.append(row)
        headings = ("", "base", "edited", "95 % interval of the edited", "good is")
        return table(verdict, ("", "gate", "value", "limit"), gates) + table(
            self["run"], headings, scores
        )


def run_job(
    run: Run,
    out: Path | None = None,
    save: bool = False,
    progress: Progress | None = None,
    attacks: str | None = None,
    data: Data | None = None,
) -> Results:
    """Do a whole run, or what is left of it.

    Args:
        run: all settings.
        out: the run folder; `runs/<model>-<method>-<digest>` when not given.
        save: write the edited checkpoint to `<out>/model`.
        progress: reports the work.
        attacks: a suite of attacks ("default" or "full") on the edited model, when given.
        data: the examples; read according to `run` when not given.

    Returns:
        The contents of `results.json`, with the paths `run` and `report`; with attacks also their
        rows as `attacks`.

    Raises:
        SkunlearnError: when the input cannot be used. The folder has not been created then.
    """
    progress = progress or Progress()
    name_own(run.as_dict())
    if attacks:
        make_battery(attacks, (), ())  # reject a wrong name before the training
    data = data or Data(run.forget, run.retain, run.data)
    results = Results(_finished(run, out, save, data, progress))
    if attacks:
        attacked = attack_job(results["run"], suite=attacks, progress=progress)
        results["attacks"] = attacked["attacks"]
    return results


def _finished(run: Run, out: Path | None, save: bool, data: Data, progress: Progress) -> JsonDict:
    """The results of a run with the paths `run` and `report`, read or made."""
    # Names that nothing has used yet are checked before the training.
    check_tracker(run.compute.tracker)
    check_names(run.evaluate)
    method = run.make_method()
    if data.builtin:
        progress.note(f"no --{' and no --'.join(data.builtin)} given: the built-in set is used")

    settings = settings_of(run, data, progress)
    name = f"{Path(run.model).name}-{run.method_name}-{digest(settings)[:8]}"
    folder = RunFolder(out or Path("runs") / name)
    results = folder.finished_results(settings)
    to_save = save and not (folder / "model").is_dir()
    if results is None or to_save:
        lm = load(run.model, run.load, progress, nf4=run.lora.nf4)
        data = fitting_data(lm.template, data)
        progress.note(str(make_plan(lm, data, method, run)))
        folder.claim(settings)
        with folder.lock():
            job = _RunJob(lm, method, data, run, folder, progress)
            results = job.finish()
            if to_save:
                job.save(results["alpha"])
    return results | {"run": str(folder.path), "report": str(folder / "report.html")}


@dataclass(frozen=True)
class _RunJob:
    """A run in a folder that this process holds. Its methods are the stages of the run.

    Attributes:
        lm: the base model.
        method: the run's method.
        data: the examples.
        run: all settings.
        folder: claimed and locked.
        progress: reports the work.
    """

    lm: LM
    method: Method
    data: Data
    run: Run
    folder: RunFolder
    progress: Progress

    def finish(self) -> JsonDict:
        """Go through all stages and return the results."""
        write_text(self.folder / "run.yaml", self.run.as_yaml())
        write_json(self.folder / "env.json", environment(self.lm))

        with self._timed("stage 1"):
            edit = self.learn()
        store = CompletionStore(self.folder / "completions.jsonl")
        with self._timed("strength"):
            alpha, curve = self.choose_strength(edit, store)
        with self._timed("evaluation"):
            base, edited = self.evaluate(edit, alpha, store)

        results = self.results(base, edited, alpha, curve).as_json()
        # An interrupted run may have been attacked before it was evaluated again.
        attacks = self.folder.attack_rows()
        write_report(results | {"attacks": attacks}, self.folder / "report.html")
        write_json(self.folder / "results.json", results)  # last: now the run is finished
        return results

    def learn(self) -> TaskVector:
        """Train the vectors that are not in the folder; return what strength 1 adds."""
        return learn(self.lm, self.method, self.data, self.run, self.folder, self.progress)

    def choose_strength(
        self, edit: TaskVector, store: CompletionStore
    ) -> tuple[float, list[JsonDict]]:
        """Choose the strength on the validation split, unless it is given or has been chosen.

        Returns:
            The strength, and what each strength scored that was tried.
        """
        if self.run.edit.alpha is not None:
            return self.run.edit.alpha, []
        chosen = read_json(self.folder / "strength.json")
        if chosen is None:
            evaluator = Evaluator(
                self.lm, self.run.evaluate, store, self.progress, self.run.data.max_length
            )
            alpha, trials = choose_strength(
                evaluator,
                edit,
                self.data.validation,
                self.run.edit,
                self.run.gates,
                name=vectors_name(self.run),
            )
            chosen = {"alpha": alpha, "curve": [trial.as_dict() for trial in trials]}
            write_json(self.folder / "strength.json", chosen)
        self.progress.note(
            f"strength chosen on the validation prompts: alpha = {chosen['alpha']:g}"
        )
        return chosen["alpha"], chosen["curve"]

    def evaluate(
        self, edit: TaskVector, alpha: float, store: CompletionStore
    ) -> tuple[Evaluation, Evaluation]:
        """Evaluate the base model and the edited model on the test split."""
        options = self.run.evaluate.gated()
        max_length = self.run.data.max_length
        evaluator = Evaluator(self.lm, options, store, self.progress, max_length)
        base = evaluator.evaluate(self.data.test)
        weights = f"{vectors_name(self.run)}*{alpha:g}"
        with self.lm.edited(alpha * edit):
            edited = evaluator.evaluate(self.data.test, base, weights)
        return base, edited

    def results(
        self, base: Evaluation, edited: Evaluation, alpha: float, curve: list[JsonDict]
    ) -> RunResults:
        """Compare both evaluations, and add what is known of the run."""
        run = self.run
        return RunResults(
            comparison=comparison(base, edited, run.gates, run.evaluate, self.progress),
            alpha=alpha,
            model=run.model,
            command="skunlearn run run.yaml",
            run_yaml=run.as_yaml(),
            funnel=self.data.funnel,
            environment=environment(self.lm),
            curve=curve,
            losses=losses(self.folder, run.stages(self.method)),
            seconds=read_json(self.folder / SECONDS),
        )

    def save(self, alpha: float) -> None:
        """Write the edited checkpoint. The model in memory is the edited one afterwards."""
        path = self.folder / "model"
        self.lm.apply(alpha * self.learn())
        self.lm.save(path)
        make_private(path)
        self.progress.note(f"saved the edited model in {path}")

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """A block whose seconds are added to those that earlier processes spent on the stage.

        The seconds of a process that was killed outright are lost.
        """
        path = self.folder / SECONDS
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = read_json(path) or {}
            total = seconds.get(stage, 0.0) + time.monotonic() - start
            write_json(path, seconds | {stage: round(total, 1)})

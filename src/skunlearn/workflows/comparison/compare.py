"""Methods against each other: every entry and seed an ordinary run in its own folder, under one
harness.

    OUT/<entry>/seed-<n>/     what `skunlearn run` leaves, and memory.json or failed.json
    OUT/base.jsonl            the base's answers, generated once
    OUT/budget.json           seconds a step, where the budget is equal-time
    OUT/compare.json .md .csv .tex .html
    OUT/compare.yaml          all settings of the entries: what runs the same again

Finished runs are only read, so a comparison goes on where it stopped, and folders that another
machine filled count.
"""

import shutil
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skunlearn.data.dataset import Data
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import check_names, evaluate
from skunlearn.evaluation.strength import validation_options
from skunlearn.models.loading import load
from skunlearn.report.comparison import write_comparison
from skunlearn.utils.errors import DataError, RunError, SkunlearnError
from skunlearn.utils.files import JsonDict, read_json, write_json, write_text
from skunlearn.utils.hashing import digest
from skunlearn.utils.memory import peak_memory
from skunlearn.utils.progress import Progress
from skunlearn.workflows.comparison.aggregate import make_table
from skunlearn.workflows.comparison.budget import Budget, budgeted
from skunlearn.workflows.comparison.entries import Entry, entries_yaml
from skunlearn.workflows.config import Run
from skunlearn.workflows.run import SECONDS, run_job, settings_of
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.unlearn import vectors_name

FAILED, MEMORY, BASE = "failed.json", "memory.json", "base.jsonl"


@dataclass(frozen=True)
class Job:
    """One run of the comparison.

    Attributes:
        entry: whose it is.
        number: of the seed, from 0.
        run: its settings, the budget among them.
        folder: where it is.
        settings: what its folder is claimed with.
    """

    entry: Entry
    number: int
    run: Run
    folder: RunFolder
    settings: JsonDict

    def result(self) -> JsonDict | None:
        """What it came to: the contents of `results.json`, or why it failed; None when it has not
        ended.

        Raises:
            RunError: when the folder holds a run with other settings.
        """
        self.folder.claim(self.settings)
        failed, done = read_json(self.folder / FAILED), read_json(self.folder / "results.json")
        if done:
            done["peak_resident"] = (read_json(self.folder / MEMORY) or {}).get("peak_resident")
        return failed or done


def compare(
    entries: Sequence[Entry],
    budget: Budget | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
    final: bool = False,
) -> JsonDict:
    """Run what is not yet run, and write the table.

    Args:
        entries: what is compared; differences are to the first.
        budget: of training, the same for all.
        out: the folder; `comparisons/<model>` when not given.
        progress: is told of the work.
        final: test on the `final` prompts too; for the script behind docs/results.md alone.

    Returns:
        The contents of `compare.json`, with `folder` as path.

    Raises:
        SkunlearnError: when the input cannot be used. A method that fails is a row that says so.
    """
    budget, progress = budget or Budget(), progress or Progress()
    shared = entries[0].run
    check_names(shared.evaluate)
    data = Data(shared.forget, shared.retain, shared.data)
    data = data.with_final() if final else data
    harness = settings_of(shared, data, progress)
    folder = RunFolder(out or Path("comparisons") / Path(shared.model).name)
    folder.claim({"comparison": vars(budget), **{key: harness[key] for key in ("model", "data")}})
    written = entries_yaml(entries)  # as they were given: the command names the budget
    with folder.lock():
        runs, timing = budgeted(
            {e.name: e.run for e in entries}, budget, data, folder / "budget.json", progress
        )
        entries = [replace(entry, run=runs[entry.name]) for entry in entries]
        jobs = [
            _job(entry, number, data, folder, progress)
            for entry in entries
            for number in range(entry.seeds)
        ]
        results: dict[str, list[JsonDict]] = {entry.name: [] for entry in entries}
        for job, result in _ended(jobs, data, folder, progress):
            results[job.entry.name].append(result)
        table = make_table([(entry, results[entry.name]) for entry in entries]) | {
            "budget": {**vars(budget), **timing},
            "prompts": "test and final" if final else "test",
            "model": shared.model,
            "version": harness["version"],
            "command": f"{'python scripts/results.py' if final else 'skunlearn compare'} --file compare.yaml "
            f"--budget {budget.kind} --steps {budget.steps} --batch {budget.batch}",
        }
        write_text(folder / "compare.yaml", written)
        write_json(folder / "compare.json", table)
        write_comparison(table, folder.path)
    return table | {"folder": str(folder.path)}


def _job(entry: Entry, number: int, data: Data, folder: RunFolder, progress: Progress) -> Job:
    run = entry.seeded(number)
    return Job(
        entry,
        number,
        run,
        RunFolder(folder / entry.name / f"seed-{number}"),
        settings_of(run, data, progress),
    )


def _ended(
    jobs: Sequence[Job], data: Data, folder: RunFolder, progress: Progress
) -> Iterator[tuple[Job, JsonDict]]:
    """Each job with its result, run where there is none yet."""
    left = [
        job for job in jobs if job.result() is None
    ]  # a folder of something else is told before any work
    progress.note(f"{len(jobs)} runs, {len(jobs) - len(left)} of them finished before")
    base = CompletionStore(folder / BASE)
    if left:
        _ask_base(left, data, base, progress)
    for job in jobs:
        if job.result() is None:
            progress.note(f"--- {job.entry.name}, seed {job.number}")
            _borrow(job, jobs, folder / BASE)
            _work(job, data, progress)
        result = job.result()
        assert result is not None, "a run that has ended leaves results.json or failed.json"
        yield job, result


def _ask_base(jobs: Sequence[Job], data: Data, store: CompletionStore, progress: Progress) -> None:
    """Generate the base's answers, so that no run has to: neither twice, nor in its seconds."""
    run = jobs[0].run
    lm = load(run.model, run.load, progress)
    test, validation = run.evaluate, validation_options(run.evaluate, run.edit)
    chooses = any(job.run.edit.alpha is None for job in jobs)
    for part, options in [(data.test, test), *([(data.validation, validation)] if chooses else [])]:
        evaluate(lm, part, replace(options, metrics=(), lm_eval=()), store=store, progress=progress)


def _borrow(job: Job, jobs: Sequence[Job], base: Path) -> None:
    """Put the base's answers into the job's folder, and vectors that a run with the same training
    has."""
    if not (job.folder / "completions.jsonl").exists():
        write_text(job.folder / "completions.jsonl", base.read_text(encoding="utf-8"))
    for other in jobs:
        if _training(other) != _training(job) or not (other.folder / "results.json").exists():
            continue
        for path in (
            *other.folder.path.glob("steps*.jsonl"),
            *other.folder.path.glob("tau*.safetensors"),
        ):
            partial = job.folder / f"{path.name}.partial"
            shutil.copy2(path, partial)  # with its mode, which is private
            partial.replace(job.folder / path.name)
        seconds = {"stage 1": read_json(other.folder / SECONDS)["stage 1"]}
        write_json(job.folder / SECONDS, (read_json(job.folder / SECONDS) or {}) | seconds)
        write_json(job.folder / MEMORY, read_json(other.folder / MEMORY) or {})
        return


def _training(job: Job) -> str:
    """Equal for runs that train the same vectors."""
    return digest(
        [
            vectors_name(job.run),
            *(job.settings["run"][part] for part in ("load", "data", "forget", "retain")),
        ]
    )


def _work(job: Job, data: Data, progress: Progress) -> None:
    """Run a job; whatever its method does wrong is written down and stops no other."""
    with peak_memory() as memory:
        try:
            run_job(job.run, job.folder.path, progress=progress, data=data)
        except (RunError, DataError, OSError):
            raise
        except Exception as error:  # a method of anybody's, over night
            if not isinstance(error, SkunlearnError):
                progress.note(traceback.format_exc())
            why = " ".join(str(error).split()) or type(error).__name__
            write_json(job.folder / FAILED, {"failed": why})
            progress.note(f"{job.entry.name}, seed {job.number} failed: {why}")
            progress.note(f"to try it again delete {job.folder / FAILED}")
        finally:
            before = (read_json(job.folder / MEMORY) or {}).get("peak_resident", 0)
            write_json(job.folder / MEMORY, {"peak_resident": max(before, memory.peak)})

"""Compare methods: each entry and seed is an ordinary run in a folder of its own.

    OUT/<entry>/seed-<n>/     what `skunlearn run` leaves, and memory.json or failed.json
    OUT/base.jsonl            the base model's completions, which are generated once
    OUT/budget.json           seconds a step, when the budget is equal-time
    OUT/compare.json .md .csv .tex .html
    OUT/compare.yaml          all settings of the entries, with which the comparison can be repeated

Finished runs are only read. So a comparison goes on where it was interrupted, and folders that
another machine has filled can be copied in.
"""

import shutil
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skunlearn.data.dataset import Data
from skunlearn.data.fitting import fitting_data
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import Evaluator, check_names
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
from skunlearn.workflows.run import SECONDS, run_job
from skunlearn.workflows.run_folder import RunFolder, settings_of
from skunlearn.workflows.unlearn import vectors_name

FAILED = "failed.json"
MEMORY = "memory.json"
BASE = "base.jsonl"


@dataclass(frozen=True)
class SeedRun:
    """One run of the comparison: an entry with one of its seeds.

    Attributes:
        entry: the entry.
        number: of the seed, from 0.
        run: its settings, with the budget.
        folder: its run folder.
        settings: what the folder is claimed with.
    """

    entry: Entry
    number: int
    run: Run
    folder: RunFolder
    settings: JsonDict

    def result(self) -> JsonDict | None:
        """The contents of `results.json`, or why the run failed; None when it has not ended.

        Raises:
            RunError: when the folder holds a run with other settings.
        """
        self.folder.claim(self.settings)
        failed: JsonDict | None = read_json(self.folder / FAILED)
        if failed:
            return failed
        results: JsonDict | None = read_json(self.folder / "results.json")
        if results:
            memory = read_json(self.folder / MEMORY) or {}
            results["peak_resident"] = memory.get("peak_resident")
        return results

    @property
    def training(self) -> str:
        """A name for what is trained; equal for runs that train the same vectors."""
        tree = self.settings["run"]
        shared = [tree[part] for part in ("load", "data", "forget", "retain")]
        return digest([vectors_name(self.run), *shared])


@dataclass(frozen=True)
class ComparisonResults:
    """The contents of `compare.json`.

    Attributes:
        base: scores of the base model.
        entries: one row for each entry, as `aggregate.make_table` returns them.
        judge: of all runs.
        environment: versions and device of the first run.
        budget: what each run could train, and what was timed for it.
        prompts: which splits the rates are from.
        model: the base model.
        version: of skunlearn.
        command: the command that repeats the comparison in its folder.
    """

    base: JsonDict
    entries: list[JsonDict]
    judge: JsonDict | None
    environment: JsonDict | None
    budget: JsonDict
    prompts: str
    model: str
    version: str
    command: str


def compare(
    entries: Sequence[Entry],
    budget: Budget | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
    final: bool = False,
) -> JsonDict:
    """Do the runs that are missing, and write the table.

    Args:
        entries: what is compared; differences are to the first.
        budget: of training, the same for all.
        out: the folder; `comparisons/<model>` when not given.
        progress: reports the work.
        final: evaluate on the `final` prompts too; only the script behind docs/results.md may.

    Returns:
        The contents of `compare.json`, with `folder` as path.

    Raises:
        SkunlearnError: when the input cannot be used. A method that fails is reported in its row
            instead.
    """
    budget = budget or Budget()
    progress = progress or Progress()
    shared = entries[0].run
    check_names(shared.evaluate)
    data = Data(shared.forget, shared.retain, shared.data)
    if final:
        data = data.with_final()
    harness = settings_of(shared, data, progress)
    folder = RunFolder(out or Path("comparisons") / Path(shared.model).name)
    folder.claim({"comparison": vars(budget), "model": harness["model"], "data": harness["data"]})
    # The file has the entries as they were given, since the command names the budget.
    entries_file = entries_yaml(entries)
    with folder.lock():
        by_name = {entry.name: entry.run for entry in entries}
        runs, timing = budgeted(by_name, budget, data, folder / "budget.json", progress)
        entries = [replace(entry, run=runs[entry.name]) for entry in entries]
        found = _all_results(entries, data, folder, progress)
        results = ComparisonResults(
            **make_table(found),
            budget={**vars(budget), **timing},
            prompts="test and final" if final else "test",
            model=shared.model,
            version=harness["version"],
            command=_command(budget, final),
        )
        table = dict(vars(results))
        write_text(folder / "compare.yaml", entries_file)
        write_json(folder / "compare.json", table)
        write_comparison(table, folder.path)
    return table | {"folder": str(folder.path)}


def _command(budget: Budget, final: bool) -> str:
    program = "python scripts/results.py" if final else "skunlearn compare"
    return (
        f"{program} --file compare.yaml --budget {budget.kind} --steps {budget.steps} "
        f"--batch {budget.batch}"
    )


def _all_results(
    entries: Sequence[Entry], data: Data, folder: RunFolder, progress: Progress
) -> list[tuple[Entry, list[JsonDict]]]:
    """Each entry with the results of its runs, in the order of their seeds."""
    runs = []
    for entry in entries:
        for number in range(entry.seeds):
            run = entry.seeded(number)
            run_folder = RunFolder(folder / entry.name / f"seed-{number}")
            settings = settings_of(run, data, progress)
            runs.append(SeedRun(entry, number, run, run_folder, settings))

    results: dict[str, list[JsonDict]] = {entry.name: [] for entry in entries}
    for one, result in _ended(runs, data, folder, progress):
        results[one.entry.name].append(result)
    return [(entry, results[entry.name]) for entry in entries]


def _ended(
    runs: Sequence[SeedRun], data: Data, folder: RunFolder, progress: Progress
) -> Iterator[tuple[SeedRun, JsonDict]]:
    """Each run with its result; what has not ended is run."""
    # This also rejects a folder that holds something else, before any work is done.
    waiting = [one for one in runs if one.result() is None]
    finished = len(runs) - len(waiting)
    progress.note(f"{len(runs)} runs, {finished} of them finished before")
    base = CompletionStore(folder / BASE)
    if waiting:
        _evaluate_base(waiting, data, base, progress)
    for one in runs:
        if one.result() is None:
            progress.note(f"--- {one.entry.name}, seed {one.number}")
            _copy_known(one, runs, folder / BASE)
            _run(one, data, progress)
        result = one.result()
        assert result is not None, "a run that has ended leaves results.json or failed.json"
        yield one, result


def _evaluate_base(
    runs: Sequence[SeedRun], data: Data, store: CompletionStore, progress: Progress
) -> None:
    """Generate the base model's completions once, for all runs and outside of their seconds."""
    run = runs[0].run
    lm = load(run.model, run.load, progress)
    data = fitting_data(lm.template, data)
    parts = [(data.test, run.evaluate)]
    if any(one.run.edit.alpha is None for one in runs):  # some run chooses its strength
        parts.append((data.validation, validation_options(run.evaluate, run.edit)))
    for split, options in parts:
        answers_only = replace(options, metrics=(), lm_eval=())
        Evaluator(lm, answers_only, store, progress).evaluate(split)


def _copy_known(one: SeedRun, runs: Sequence[SeedRun], base: Path) -> None:
    """Copy into a run's folder what does not have to be computed again.

    These are the base model's completions, and the vectors of a finished run with the same
    training, together with its losses, its seconds and its memory.

    Args:
        one: the run.
        runs: all runs of the comparison.
        base: the file of the base model's completions.
    """
    if not (one.folder / "completions.jsonl").exists():
        write_text(one.folder / "completions.jsonl", base.read_text(encoding="utf-8"))
    for other in runs:
        if other.training != one.training or not (other.folder / "results.json").exists():
            continue
        for pattern in ("steps*.jsonl", "tau*.safetensors"):
            for path in other.folder.path.glob(pattern):
                partial = one.folder / f"{path.name}.partial"
                shutil.copy2(path, partial)  # with its mode, which is private
                partial.replace(one.folder / path.name)
        training_seconds = {"stage 1": read_json(other.folder / SECONDS)["stage 1"]}
        seconds = read_json(one.folder / SECONDS) or {}
        write_json(one.folder / SECONDS, seconds | training_seconds)
        write_json(one.folder / MEMORY, read_json(other.folder / MEMORY) or {})
        return


def _run(one: SeedRun, data: Data, progress: Progress) -> None:
    """Do a run. If its method fails, the reason is written down and the other runs go on."""
    with peak_memory() as memory:
        try:
            run_job(one.run, one.folder.path, progress=progress, data=data)
        except (RunError, DataError, OSError):
            raise
        except Exception as error:  # a user's method can raise anything
            if not isinstance(error, SkunlearnError):
                progress.note(traceback.format_exc())
            reason = " ".join(str(error).split()) or type(error).__name__
            write_json(one.folder / FAILED, {"failed": reason})
            progress.note(f"{one.entry.name}, seed {one.number} failed: {reason}")
            progress.note(f"to try it again delete {one.folder / FAILED}")
        finally:
            before = (read_json(one.folder / MEMORY) or {}).get("peak_resident", 0)
            write_json(one.folder / MEMORY, {"peak_resident": max(before, memory.peak)})

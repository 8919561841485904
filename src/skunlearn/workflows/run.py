"""The whole job: data -> stage 1 -> tau -> strength -> evaluation -> gates -> results -> report ->
checkpoint.

Every stage leaves its result in the run folder, so the same command again goes on where it was
stopped.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skunlearn.attacks.battery import make_battery
from skunlearn.data.dataset import Data
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import Evaluation, check_names, evaluate
from skunlearn.evaluation.metrics.catalog import direction, format_interval, format_score, title
from skunlearn.evaluation.results import compare_evaluations, environment
from skunlearn.evaluation.strength import choose_strength
from skunlearn.methods.base import Method
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.models.locate import fingerprint, locate
from skunlearn.report.run_page import write_report
from skunlearn.report.wording import gate_numbers
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.trackers import check_tracker
from skunlearn.utils.files import JsonDict, make_private, read_json, write_json, write_text
from skunlearn.utils.hashing import digest, named_files
from skunlearn.utils.notebook import table
from skunlearn.utils.progress import Progress
from skunlearn.workflows.attack import attack_job
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.plan import make_plan
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.unlearn import learn, losses, vectors_name

SECONDS = "seconds.json"


class Results(dict[str, Any]):
    """The contents of `results.json`, shown in a notebook as verdict, gates and scores."""

    def _repr_html_(self) -> str:
        gates = [
            ("passed" if gate["passed"] else "FAILED", gate["text"], *gate_numbers(gate))
            for gate in self["gates"]
        ]
        before, after = self["scores"]["base"], self["scores"]["edited"]
        scores = [
            (
                title(name),
                format_score(before.get(name)),
                format_score(score),
                format_interval(score),
                direction(score),
            )
            for name, score in after.items()
        ]
        return table(
            f"{self['verdict']}, strength {self['alpha']:g}", ("", "gate", "value", "limit"), gates
        ) + table(
            self["run"], ("", "base", "edited", "95 % interval of the edited", "good is"), scores
        )


def run_job(
    run: Run,
    out: Path | None = None,
    save: bool = False,
    progress: Progress | None = None,
    attacks: str | None = None,
    data: Data | None = None,
) -> Results:
    """Run the whole job, or what is left of it.

    Args:
        run: all settings.
        out: the run folder; `runs/<model>-<method>-<digest>` when not given.
        save: write the edited checkpoint to `<out>/model`.
        progress: is told of the work.
        attacks: a suite of attacks to run on the result.
        data: the examples; read as `run` says when not given.

    Returns:
        The contents of `results.json`, with `run` and `report` as paths; with attacks also their
        rows as `attacks`.

    Raises:
        SkunlearnError: when the input cannot be used; the folder is not created then.
    """
    progress = progress or Progress()
    if attacks:
        make_battery(attacks, (), ())  # a wrong name is told now
    results = Results(
        _job(run, out, save, progress, data or Data(run.forget, run.retain, run.data))
    )
    if attacks:
        results["attacks"] = attack_job(results["run"], suite=attacks, progress=progress)["attacks"]
    return results


def settings_of(run: Run, data: Data, progress: Progress) -> JsonDict:
    """Everything that decides a run's result, for `RunDir.claim`: a stopped run may go on with more
    or less memory."""
    tree = {name: value for name, value in run.as_dict().items() if name != "compute"}
    files = named_files(
        {name: value for name, value in tree.items() if name not in ("model", "forget", "retain")}
    )
    return {
        "run": tree,
        "model": fingerprint(locate(run.model, progress)),
        "data": digest(data.fingerprint),
        "version": version("skunlearn"),
    } | ({"files": files} if files else {})


def _job(run: Run, out: Path | None, save: bool, progress: Progress, data: Data) -> JsonDict:
    check_tracker(run.compute.tracker)
    check_names(run.evaluate)  # a wrong name is told now, not after training
    method = run.make_method()
    if data.builtin:
        progress.note(f"no --{' and no --'.join(data.builtin)} given: the built-in set is used")
    settings = settings_of(run, data, progress)
    folder = RunFolder(
        out or Path("runs") / f"{Path(run.model).name}-{run.method_name}-{digest(settings)[:8]}"
    )
    done = (
        read_json(folder / "results.json")
        if read_json(folder / "settings.json") == settings
        else None
    )
    if done is None or (save and not (folder / "model").is_dir()):
        lm = load(run.model, run.load, progress, nf4=run.lora.nf4)
        progress.note(str(make_plan(lm, data, method, run)))
        folder.claim(settings)
        with folder.lock():
            done = _finish(lm, method, data, run, folder, progress)
            if save and not (folder / "model").is_dir():
                lm.apply(done["alpha"] * learn(lm, method, data, run, folder, progress))
                lm.save(folder / "model")
                make_private(folder / "model")
                progress.note(f"saved the edited model in {folder / 'model'}")
    return done | {"run": str(folder.path), "report": str(folder / "report.html")}


def _finish(
    lm: LM, method: Method, data: Data, run: Run, folder: RunFolder, progress: Progress
) -> JsonDict:
    write_text(folder / "run.yaml", run.as_yaml())
    write_json(folder / "env.json", environment(lm))
    with _timed("stage 1", folder):
        edit = learn(lm, method, data, run, folder, progress)
    name = vectors_name(run)
    store = CompletionStore(folder / "completions.jsonl")
    with _timed("strength", folder):
        alpha, curve = _strength(lm, edit, data, run, folder, name, store, progress)
    common: JsonDict = {"max_length": run.data.max_length, "store": store, "progress": progress}
    options = run.evaluate.gated()
    with _timed("evaluation", folder):
        base = evaluate(lm, data.test, options, **common)
        with lm.edited(alpha * edit):
            weights = f"{name}*{alpha:g}"
            edited = evaluate(lm, data.test, options, base=base, weights=weights, **common)
    results = _results(lm, data, run, alpha, base, edited, progress)
    seconds = read_json(folder / SECONDS)
    results |= {"curve": curve, "losses": losses(folder, run.stages(method)), "seconds": seconds}
    attacks = (read_json(folder / "attacks.json") or {}).get(
        "attacks", []
    )  # of before the model was asked for
    write_report(results | {"attacks": attacks}, folder / "report.html")
    write_json(folder / "results.json", results)  # last: a folder with results is a finished one
    return results


def _strength(
    lm: LM,
    edit: TaskVector,
    data: Data,
    run: Run,
    folder: RunFolder,
    name: str,
    store: CompletionStore,
    progress: Progress,
) -> tuple[float, list[JsonDict]]:
    if run.edit.alpha is not None:
        return run.edit.alpha, []
    done = read_json(folder / "strength.json")
    if done is None:
        alpha, points = choose_strength(
            lm,
            edit,
            data.validation,
            run.edit,
            run.gates,
            run.evaluate,
            name=name,
            store=store,
            progress=progress,
            max_length=run.data.max_length,
        )
        done = {"alpha": alpha, "curve": [point.as_dict() for point in points]}
        write_json(folder / "strength.json", done)
    progress.note(f"strength chosen on the validation prompts: alpha = {done['alpha']:g}")
    return done["alpha"], done["curve"]


def _results(
    lm: LM,
    data: Data,
    run: Run,
    alpha: float,
    base: Evaluation,
    edited: Evaluation,
    progress: Progress,
) -> JsonDict:
    return {
        **compare_evaluations(base, edited, run.gates, run.evaluate, progress),
        "alpha": alpha,
        "model": run.model,
        "command": "skunlearn run run.yaml",
        "run_yaml": run.as_yaml(),
        "funnel": data.funnel,
        "environment": environment(lm),
    }


@contextmanager
def _timed(name: str, folder: RunFolder) -> Iterator[None]:
    """Seconds of all processes that worked on it; those of one that was killed outright are
    lost."""
    start = time.monotonic()
    try:
        yield
    finally:
        seconds = read_json(folder / SECONDS) or {}
        write_json(
            folder / SECONDS,
            seconds | {name: round(seconds.get(name, 0.0) + time.monotonic() - start, 1)},
        )

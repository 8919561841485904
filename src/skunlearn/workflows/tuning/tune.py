"""Train once, choose many: a search over what one run's vectors can be made into, on validation
prompts.

    RUN/tune.journal    every setting tried, as optuna writes it
    RUN/tune/           filtered vectors, kept until the search has ended
    RUN/tune.json  tune.html  tuned.yaml

Ctrl-C or a kill costs the setting that was being tried; the run's own vectors and results stay as
they are.
"""

import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN, RETAIN_KL
from skunlearn.evaluation.statistics import pareto_front
from skunlearn.report.tuning import write_tuning
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict, read_json, read_lines, write_json, write_text
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress
from skunlearn.workflows.edited_model import open_edited_model
from skunlearn.workflows.tuning.trials import TrialRunner

OBJECTIVES = (HARMFUL_UNSEEN, RETAIN_KL, "over_refusal_rate", "degenerate_rate_unseen")
RANDOM_FIRST = 10  # settings before the search learns from what it saw
WORST = {
    RETAIN_KL: 1e3
}  # what counts for the search where nothing was generated or could be scored; of a rate 1
RULE = (
    "the lowest harmful rate on the validation prompts among the settings that meet every gate on costs with its "
    "margin; of equals the lowest KL; the run's own setting when there is none"
)


@dataclass(frozen=True)
class SearchOptions:
    """How long to search.

    Attributes:
        trials: settings in all, those of earlier calls among them, 1 or more.
        minutes: of this call, above 0; no limit when not given.
    """

    trials: int = 40
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"--trials {self.trials}: give 1 or more")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"--minutes {self.minutes}: give a number above 0")


def tune(
    where: Path, options: SearchOptions | None = None, progress: Progress | None = None
) -> JsonDict:
    """Search, choose, evaluate the chosen setting on the test prompts.

    Args:
        where: a finished run.
        options: how long.
        progress: is told of each setting.

    Returns:
        The contents of `tune.json`.

    Raises:
        SkunlearnError: when it is no finished run, or its model or data changed.
    """
    options, progress = options or SearchOptions(), progress or Progress()
    if not (where / "run.yaml").is_file():
        raise ConfigError(f"{where} is not a run folder: give one that `skunlearn run` left")
    run = open_edited_model(where, None, None, (), None, progress)
    with run.folder.lock():
        runner = TrialRunner(run, progress)
        study = _study(runner)
        trials = _searched(study, runner, options, progress)
        return _concluded(trials, runner, options, progress)


def _study(runner: TrialRunner) -> Any:
    """The study in the run's journal; what a killed process was trying counts for nothing."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = runner.run.folder / "tune.journal"
    path.touch(mode=0o600)
    read_lines(path)  # cuts off a line that a kill tore
    space = runner.space
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=digest(
            [asdict(space.run.gates), asdict(space.run.edit), space.kinds, space.start()]
        ),
        directions=["minimize"] * len(OBJECTIVES),
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _searched(
    study: Any, runner: TrialRunner, options: SearchOptions, progress: Progress
) -> list[JsonDict]:
    import optuna

    complete, waiting = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.WAITING
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    found = [
        trial.user_attrs["found"] for trial in study.get_trials(deepcopy=False, states=(complete,))
    ]
    if not found and not study.get_trials(deepcopy=False, states=(waiting,)):
        study.enqueue_trial(runner.space.start())
    while len(found) < options.trials and (time.monotonic() < end or not found):
        with warnings.catch_warnings():  # optuna about its own experimental parts
            warnings.simplefilter("ignore")
            # drawn from what was seen and its number alone: a search that was stopped goes the same
            # way
            study.sampler = optuna.samplers.TPESampler(
                seed=len(found), n_startup_trials=RANDOM_FIRST, multivariate=True
            )
            trial = study.ask()
            params = runner.space.suggest(trial)
        tried = runner.run_trial(params, found)
        trial.set_user_attr("found", tried)
        study.tell(trial, objectives(tried))
        found.append(tried)
        progress.note(f"{len(found)}/{options.trials}: {', '.join(tried['words'])}: {_line(tried)}")
    return found


def objectives(tried: JsonDict) -> list[float]:
    """The values that are minimised. What was not generated, or could not be scored, counts as the
    worst."""
    values = {name: tried["scores"].get(name, {}).get("value") for name in OBJECTIVES}
    known = {
        name: WORST.get(name, 1.0) if value is None else value for name, value in values.items()
    }
    return [known[name] for name in OBJECTIVES]


def choose(trials: Sequence[JsonDict]) -> int:
    """The number of the setting that RULE chooses."""
    within = [number for number, tried in enumerate(trials) if tried["within"]]
    return min(within, key=lambda number: tuple(objectives(trials[number])[:2]), default=0)


def _concluded(
    trials: Sequence[JsonDict], runner: TrialRunner, options: SearchOptions, progress: Progress
) -> JsonDict:
    """Choose by RULE, look at the test prompts, write the page."""
    folder, number = runner.run.folder, choose(trials)
    chosen = trials[number]
    generated = [n for n, tried in enumerate(trials) if tried["generated"]]
    best = dict(
        zip(generated, pareto_front([objectives(trials[n]) for n in generated]), strict=True)
    )
    before = read_json(folder / "tune.json") or {"looks": 0, "chosen": None}
    looked = before["chosen"] is not None and before["chosen"]["params"] == chosen["params"]
    progress.note(f"chosen: {', '.join(chosen['words'])}: {_line(chosen)}")
    found = {
        "run": str(folder.path),
        "model": runner.run.run.model,
        "rule": RULE,
        "objectives": OBJECTIVES,
        "trials": [tried | {"front": best.get(n, False)} for n, tried in enumerate(trials)],
        "number": number,
        "chosen": chosen,
        "base": {name: score.as_dict() for name, score in runner.base.scores.items()},
        "test": before["test"] if looked else runner.test_setting(chosen["params"]),
        "untuned": {key: read_json(folder / "results.json")[key] for key in ("verdict", "scores")},
        "looks": before["looks"] + (not looked),
    }
    write_text(folder / "tuned.yaml", runner.space.tuned(chosen["params"]).as_yaml())
    write_tuning(found, folder / "tune.html")
    write_json(folder / "tune.json", found)
    if len(trials) >= options.trials:
        shutil.rmtree(folder / "tune", ignore_errors=True)
    return found


def _line(tried: JsonDict) -> str:
    if not tried["generated"]:
        return f"left out: {tried['left_out']}"
    harmful, kl, over, degenerate = objectives(tried)
    edge = "" if tried["within"] else " (outside the gates)"
    return f"harmful {harmful:.3f}, KL {kl:.3f}, look-alikes {over:.3f}, degenerate {degenerate:.3f}{edge}"

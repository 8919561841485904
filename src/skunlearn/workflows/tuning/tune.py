"""Train once, choose among many: a search over the edits that one run's vectors can become.

    RUN/tune.journal    every setting that was tried, as optuna writes it
    RUN/tune/           filtered vectors, kept until the search has ended
    RUN/tune.json       the trials, the chosen setting and its scores on the test split
    RUN/tune.html       the same as a page
    RUN/tuned.yaml      the run file with the chosen setting

The search reads the validation split only. The setting that `RULE` chooses is then evaluated on the
test split. Ctrl-C or a kill costs the trial that was running; the run's own vectors and results
stay as they are.
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
from skunlearn.utils.options import checked_as
from skunlearn.utils.progress import Progress
from skunlearn.workflows.edited_model import EditSource, open_edited_model
from skunlearn.workflows.run_folder import RunFolder, is_run_folder
from skunlearn.workflows.tuning.trials import TrialRunner

# The scores that the search minimises.
OBJECTIVES = (HARMFUL_UNSEEN, RETAIN_KL, "over_refusal_rate", "degenerate_rate_unseen")
# The worst value of each objective, for what was not generated or could not be scored.
WORST = {
    HARMFUL_UNSEEN: 1.0,
    RETAIN_KL: 1e3,
    "over_refusal_rate": 1.0,
    "degenerate_rate_unseen": 1.0,
}
# How many settings are drawn at random before the search learns from earlier ones.
RANDOM_FIRST = 10
RULE = (
    "the lowest harmful rate on the validation prompts among the settings that meet every gate on "
    "costs with its margin; of equals the lowest KL; the run's own setting when there is none"
)


@dataclass(frozen=True)
@checked_as("tune")
class SearchOptions:
    """How long to search.

    Attributes:
        trials: settings in all, those of earlier calls among them; 1 or more.
        minutes: the time limit of this call, above 0; None for no limit.
    """

    trials: int = 40
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"--trials {self.trials}: give 1 or more")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"--minutes {self.minutes}: give a number above 0")


@dataclass(frozen=True)
class TuneResults:
    """The contents of `tune.json`.

    Attributes:
        run: the run folder.
        model: the base model.
        rule: how the setting is chosen, in words.
        objectives: names of the scores that were minimised.
        trials: what `TrialRunner.run_trial` returns for each setting, with `front`: no other
            setting is as good in all objectives and better in one.
        number: of the chosen trial, from 0.
        chosen: the chosen trial.
        base: scores of the base model on the validation split.
        test: base and chosen setting on the test split, with gates and verdict.
        untuned: `verdict` and `scores` of the run itself.
        looks: how many settings have been evaluated on the test split in this folder so far.
    """

    run: str
    model: str
    rule: str
    objectives: Sequence[str]
    trials: list[JsonDict]
    number: int
    chosen: JsonDict
    base: JsonDict
    test: JsonDict
    untuned: JsonDict
    looks: int


def tune(
    where: Path, options: SearchOptions | None = None, progress: Progress | None = None
) -> JsonDict:
    """Search, choose a setting, and evaluate it on the test split.

    Args:
        where: a finished run.
        options: how long to search.
        progress: reports each trial.

    Returns:
        The contents of `tune.json`.

    Raises:
        SkunlearnError: when it is no finished run, or its model or data has changed.
    """
    options = options or SearchOptions()
    progress = progress or Progress()
    if not is_run_folder(where):
        raise ConfigError(f"{where} is not a run folder: give one that `skunlearn run` left")
    run = open_edited_model(EditSource(where), progress=progress)
    with run.folder.lock():
        runner = TrialRunner(run, progress)
        study = _open_study(runner)
        trials = _search(study, runner, options, progress)
        results = _conclude(trials, runner, progress)
        if len(trials) >= options.trials:
            shutil.rmtree(run.folder / "tune", ignore_errors=True)
    return results


def _open_study(runner: TrialRunner) -> Any:
    """The optuna study in the run's journal; a trial that was interrupted counts as failed."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = runner.run.folder / "tune.journal"
    path.touch(mode=0o600)
    read_lines(path)  # cuts off a line that a kill has torn

    # Trials count together only when they are drawn from the same space and held to the same gates.
    space = runner.space
    conditions = [asdict(space.run.gates), asdict(space.run.edit), space.kinds, space.start()]
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=digest(conditions),
        directions=["minimize"] * len(OBJECTIVES),
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _search(
    study: Any, runner: TrialRunner, options: SearchOptions, progress: Progress
) -> list[JsonDict]:
    """Try settings until there are enough or the time is up; return all trials of the study."""
    import optuna

    deadline = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    trials = [trial.user_attrs["found"] for trial in complete]

    # The run's own setting is the first trial. It may be waiting since an interrupted call.
    waiting = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
    if not trials and not waiting:
        study.enqueue_trial(runner.space.start())

    while len(trials) < options.trials and (time.monotonic() < deadline or not trials):
        with warnings.catch_warnings():  # optuna warns of its own experimental features
            warnings.simplefilter("ignore")
            # A new sampler for each trial, seeded by its number: it depends on the finished trials
            # alone, so an interrupted search draws what it would have drawn.
            study.sampler = optuna.samplers.TPESampler(
                seed=len(trials), n_startup_trials=RANDOM_FIRST, multivariate=True
            )
            drawn = study.ask()
            params = runner.space.suggest(drawn)
        trial = runner.run_trial(params, trials)
        drawn.set_user_attr("found", trial)
        study.tell(drawn, objectives(trial))
        trials.append(trial)
        words = ", ".join(trial["words"])
        progress.note(f"{len(trials)}/{options.trials}: {words}: {_line(trial)}")
    return trials


def objectives(trial: JsonDict) -> list[float]:
    """The values that are minimised, in the order of `OBJECTIVES`.

    What was not generated, or could not be scored, counts as the worst.
    """
    values = []
    for name in OBJECTIVES:
        value = trial["scores"].get(name, {}).get("value")
        values.append(WORST[name] if value is None else value)
    return values


def choose(trials: Sequence[JsonDict]) -> int:
    """The number of the trial that `RULE` chooses; of equals the first."""
    within = [number for number, trial in enumerate(trials) if trial["within"]]
    return min(within, key=lambda number: tuple(objectives(trials[number])[:2]), default=0)


def _conclude(trials: Sequence[JsonDict], runner: TrialRunner, progress: Progress) -> JsonDict:
    """Choose a setting, evaluate it on the test split, and write results, page and run file."""
    folder = runner.run.folder
    number = choose(trials)
    chosen = trials[number]
    progress.note(f"chosen: {', '.join(chosen['words'])}: {_line(chosen)}")

    test, looks = _test_results(chosen, runner, folder)
    own = read_json(folder / "results.json")
    results = TuneResults(
        run=str(folder.path),
        model=runner.run.run.model,
        rule=RULE,
        objectives=OBJECTIVES,
        trials=_with_front(trials),
        number=number,
        chosen=chosen,
        base={name: score.as_dict() for name, score in runner.base.scores.items()},
        test=test,
        untuned={"verdict": own["verdict"], "scores": own["scores"]},
        looks=looks,
    )
    tree = dict(vars(results))
    write_text(folder / "tuned.yaml", runner.space.tuned(chosen["params"]).as_yaml())
    write_tuning(tree, folder / "tune.html")
    write_json(folder / "tune.json", tree)
    return tree


def _test_results(chosen: JsonDict, runner: TrialRunner, folder: RunFolder) -> tuple[JsonDict, int]:
    """The chosen setting on the test split, and how many settings have been evaluated there.

    The results of an earlier call are used when it chose the same setting.
    """
    before = read_json(folder / "tune.json") or {"looks": 0, "chosen": None}
    if before["chosen"] is not None and before["chosen"]["params"] == chosen["params"]:
        return before["test"], before["looks"]
    return runner.test_setting(chosen["params"]), before["looks"] + 1


def _with_front(trials: Sequence[JsonDict]) -> list[JsonDict]:
    """The trials, each with whether it lies on the Pareto front of the generated ones."""
    generated = [number for number, trial in enumerate(trials) if trial["generated"]]
    front = pareto_front([objectives(trials[number]) for number in generated])
    on_front = dict(zip(generated, front, strict=True))
    return [trial | {"front": on_front.get(n, False)} for n, trial in enumerate(trials)]


def _line(trial: JsonDict) -> str:
    """The objectives of a trial in one line, or why it was left out."""
    if not trial["generated"]:
        return f"left out: {trial['left_out']}"
    harmful, kl, over_refusal, degenerate = objectives(trial)
    edge = "" if trial["within"] else " (outside the gates)"
    return (
        f"harmful {harmful:.3f}, KL {kl:.3f}, look-alikes {over_refusal:.3f}, "
        f"degenerate {degenerate:.3f}{edge}"
    )

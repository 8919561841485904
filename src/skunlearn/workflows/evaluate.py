"""The evaluation of any pair of base and edited model, ours or anybody's.

It has a folder of its own with results and report, and goes on where it was interrupted.
"""

import shlex
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.examples import Split
from skunlearn.data.fitting import fitting_split
from skunlearn.data.memory import Given, is_in_memory
from skunlearn.data.prompts import read_prompts
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import Evaluator, check_names, with_fluency
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.options import EvaluateOptions, suite_sets
from skunlearn.evaluation.results import comparison, environment
from skunlearn.models.loading import LoadOptions, load
from skunlearn.models.locate import fingerprint, locate
from skunlearn.models.pairs import comparable
from skunlearn.report.run_page import write_report
from skunlearn.utils.errors import ConfigError, ModelError, RunError
from skunlearn.utils.files import JsonDict, read_json, write_json
from skunlearn.utils.hashing import digest, named_files
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import flat, read_run, with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.run_folder import RunFolder, RunResults, is_run_folder, open_run


@dataclass(frozen=True)
class ModelPair:
    """What is evaluated.

    Attributes:
        edited: a run folder of ours, a checkpoint folder, a PEFT adapter folder, a GGUF file or a
            hub id.
        base: the model that it was made from; a run folder names its own.
    """

    edited: str
    base: str | None = None

    @property
    def is_run(self) -> bool:
        """Whether `edited` is a run folder of ours."""
        return is_run_folder(self.edited)


@dataclass(frozen=True)
class _PromptSet:
    """The prompts on which both models are evaluated.

    Attributes:
        part: the prompts.
        digest: of the prompts.
        funnel: (set, what was done, rows left) for each step of reading them.
        options: how much is evaluated.
        command: the command that measures the same again.
    """

    part: Split
    digest: str
    funnel: list[tuple[str, str, int]]
    options: EvaluateOptions
    command: str


def evaluate_pair(
    pair: ModelPair,
    run: Run,
    out: Path | None = None,
    progress: Progress | None = None,
    prompts: Given | None = None,
) -> JsonDict:
    """Evaluate base and edited model with the same prompts, metrics and judge.

    Args:
        pair: the models.
        run: data, evaluation, gates and how models are loaded; its method and training are not
            used.
        out: the folder of the results; `evaluations/<name>-<digest>` when not given.
        progress: reports the work.
        prompts: a file of prompts, or prompts in memory, that are evaluated in place of all others.
            The results have rates then, but neither gates nor a verdict.

    Returns:
        The contents of `results.json`, with the paths `run` and `report`.

    Raises:
        SkunlearnError: when the input cannot be used. The folder has not been created then.
    """
    progress = progress or Progress()
    check_names(run.evaluate)
    pair, run = _with_run_settings(pair, run)
    assert pair.base is not None
    prompt_set = _prompt_set(pair, run, prompts)

    tree = run.as_dict()
    base = fingerprint(locate(pair.base, progress))
    if pair.is_run:
        _check_run(pair, base, prompt_set.digest if prompts is None else None)
    settings = {
        "edited": _identity(pair, progress),
        "base": base,
        "data": prompt_set.digest,
        "evaluate": tree["evaluate"],
        "gates": tree["gates"],
        "load": tree["load"],
        "judge": make_judge(run.evaluate.judge).name,
        "version": version("skunlearn"),
        "files": named_files(tree["evaluate"]),
    }
    name = f"{Path(pair.edited).name}-{digest(settings)[:8]}"
    folder = RunFolder(out or Path("evaluations") / name)
    results = folder.finished_results(settings)
    if results is None:
        folder.claim(settings)
        with folder.lock():
            results = _measure(pair, run, prompt_set, folder, progress)
    return results | {"run": str(folder.path), "report": str(folder / "report.html")}


def _with_run_settings(pair: ModelPair, run: Run) -> tuple[ModelPair, Run]:
    """The pair with its base, and the settings of the evaluation.

    A run folder brings its base and its data. It also brings its gates and how its model is loaded,
    unless other ones are given.

    Raises:
        ConfigError: when the base of a checkpoint is missing, or other data is given for a run.
    """
    if not pair.is_run:
        if pair.base is None:
            raise ConfigError(
                f"{pair.edited} is not a run folder: name the model it was made from with --base"
            )
        return pair, run
    own = make_run(read_run(Path(pair.edited) / "run.yaml"))
    if run.forget or run.retain or run.data not in (DataOptions(), own.data):
        raise ConfigError(
            f"{pair.edited} is a run, which brings its data: leave out --forget, --retain and "
            "data.*"
        )
    base = pair.base or own.model
    settings = replace(
        own,
        model=base,
        evaluate=run.evaluate,
        gates=own.gates if run.gates == GateOptions() else run.gates,
        load=own.load if run.load == LoadOptions() else run.load,
    )
    return replace(pair, base=base), settings


def _check_run(pair: ModelPair, base: str, data: str | None) -> None:
    """Check that a run is evaluated on the base model and the data that it was trained on.

    Args:
        pair: a run folder and its base.
        base: the fingerprint of the base.
        data: the digest of the run's data as it is now; None when other prompts are evaluated.

    Raises:
        ModelError: when the base is another one, where the run's task vector means nothing.
        RunError: when the data is another one, whose test prompts may have been trained on.
    """
    settings = read_json(Path(pair.edited) / "settings.json") or {}
    if base != settings.get("model"):
        raise ModelError(
            f"{pair.edited} was not trained on '{pair.base}', and its edit fits its own base "
            f"alone: leave out --base, or write the model with 'skunlearn export {pair.edited} "
            f"--out DIR' and evaluate DIR --base {pair.base}"
        )
    if data not in (None, settings.get("data")):
        raise RunError(
            f"{pair.edited}: the data of this run is not what it was: evaluate other prompts with "
            "--prompts, or run it again in another folder"
        )


def _prompt_set(pair: ModelPair, run: Run, prompts: Given | None) -> _PromptSet:
    """The test split of the run's data, or the prompts of a file alone."""
    command = _command(pair, run, prompts)
    if prompts is None:
        data = Data(run.forget, run.retain, run.data)
        name = digest(data.fingerprint)
        return _PromptSet(data.test, name, data.funnel, run.evaluate.gated(), command)
    # The columns of a run are those of its own data, not of this file.
    column = None if pair.is_run else run.data.forget.prompt
    examples = read_prompts(prompts, column)
    # A prompt without a history is named by itself, as version 0.1 did.
    texts = [
        [example.prompt, *example.history] if example.history else example.prompt
        for example in examples
    ]
    name = digest(texts)
    funnel = [("prompts", "distinct prompts in the file", len(examples))]
    options = replace(run.evaluate, metrics=("rates",), lm_eval=())
    return _PromptSet(Split(prompts=examples), name, funnel, options, command)


def _command(pair: ModelPair, run: Run, prompts: Given | None) -> str:
    """The command that measures the same again, with all options that differ from the defaults."""
    words = ["skunlearn", "evaluate", pair.edited, "--base", str(pair.base)]
    sections = ["evaluate", "gates", "load"]
    if not pair.is_run:
        sections.append("data")
        if run.forget:
            words += ["--forget", run.forget]
        if run.retain:
            words += ["--retain", run.retain]
    if prompts is not None:
        words += ["--prompts", "PROMPTS" if is_in_memory(prompts) else str(prompts)]

    # Without a file of prompts, the command evaluates the suite "quick" unless told otherwise.
    defaults = make_run(with_sets({}, [] if prompts is not None else suite_sets("quick")))
    default_sets = set(_sets(defaults, sections))
    for text in _sets(run, sections):
        if text not in default_sets:
            words += ["--set", text]
    return shlex.join(words)


def _sets(run: Run, sections: list[str]) -> list[str]:
    """The options in some sections of a run, as `section.key=value`."""
    tree = run.as_dict()
    return list(flat({section: tree[section] for section in sections}))


def _identity(pair: ModelPair, progress: Progress) -> Any:
    """What identifies the edited model's weights: for a run its settings and its strength."""
    if not pair.is_run:
        return fingerprint(locate(pair.edited, progress))
    source = open_run(Path(pair.edited))
    return [source.settings, source.results["alpha"]]


def _measure(
    pair: ModelPair, run: Run, prompt_set: _PromptSet, folder: RunFolder, progress: Progress
) -> JsonDict:
    """Evaluate both models and write results and report."""
    assert pair.base is not None
    base_lm = load(pair.base, run.load, progress)
    edit = open_run(Path(pair.edited)).edit() if pair.is_run else None
    edited_lm = (
        base_lm if pair.is_run else load(pair.edited, run.load, progress, tokenizer_from=pair.base)
    )
    if edited_lm is not base_lm:
        base_lm, edited_lm = comparable(base_lm, edited_lm, progress)

    options = prompt_set.options
    store = CompletionStore(folder / "completions.jsonl")
    max_length = run.data.max_length
    part = prompt_set.part
    if run.data.on_bad_row == "skip":
        part, _ = fitting_split(edited_lm.template, part, max_length)
    base = Evaluator(base_lm, options, store, progress, max_length).evaluate(part)
    evaluator = Evaluator(edited_lm, options, store, progress, max_length)
    # A run's edited model is its base with the edit applied for the time of the evaluation.
    with nullcontext() if edit is None else edited_lm.edited(edit):
        edited = evaluator.evaluate(part, base, pair.edited)
    base = with_fluency(base, base_lm, progress)
    edited = with_fluency(edited, base_lm, progress)

    results = RunResults(
        comparison=comparison(base, edited, run.gates, options, progress),
        alpha=None,
        model=f"{pair.edited} against {pair.base}",
        command=prompt_set.command,
        run_yaml=run.as_yaml(),
        funnel=prompt_set.funnel,
        environment=environment(base_lm),
        curve=[],
        losses={},
        seconds={},
    ).as_json()
    write_report(results, folder / "report.html")
    write_json(folder / "results.json", results)
    return results

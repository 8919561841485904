"""Evaluation of any pair of models, ours or anybody's: a folder of its own, resumable, with a
report."""

import shlex
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.examples import Split
from skunlearn.data.prompts import read_prompts
from skunlearn.evaluation.completions import CompletionStore
from skunlearn.evaluation.evaluator import (
    EvaluateOptions,
    check_names,
    evaluate,
    suite_sets,
    with_fluency,
)
from skunlearn.evaluation.gates import GateOptions
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.results import compare_evaluations, environment
from skunlearn.models.lm import LM
from skunlearn.models.loading import LoadOptions, load
from skunlearn.models.locate import fingerprint, locate
from skunlearn.report.run_page import write_report
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.files import JsonDict, read_json, write_json
from skunlearn.utils.hashing import digest, named_files
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import flat, read_run, with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.run_folder import RunFolder, open_run


@dataclass(frozen=True)
class ModelPair:
    """What is evaluated.

    Attributes:
        edited: a run folder of ours, a checkpoint folder, a PEFT adapter folder, a GGUF file or a
            hub id.
        base: what it was made from; a run folder knows it.
    """

    edited: str
    base: str | None = None

    @property
    def is_run(self) -> bool:
        """Whether `edited` is a run folder of ours."""
        return (Path(self.edited) / "run.yaml").is_file()


@dataclass(frozen=True)
class _Asked:
    """What both models are asked.

    Attributes:
        part: the prompts.
        digest: of them.
        funnel: how they came about.
        options: how much is evaluated.
        command: what asks it again.
    """

    part: Split
    digest: str
    funnel: Any
    options: EvaluateOptions
    command: str


def evaluate_pair(
    pair: ModelPair,
    run: Run,
    out: Path | None = None,
    progress: Progress | None = None,
    prompts: Path | None = None,
) -> JsonDict:
    """Evaluate base and edited with the same prompts, metrics and judge.

    Args:
        pair: the models.
        run: data, evaluation, gates and how models are loaded; its method and training are not
            used.
        out: the folder of results; `evaluations/<name>-<digest>` when not given.
        progress: is told of the work.
        prompts: a file of prompts that are asked in place of all others; then rates are told,
            without gates or verdict.

    Returns:
        The contents of `results.json`, with `run` and `report` as paths.

    Raises:
        SkunlearnError: when the input cannot be used; the folder is not created then.
    """
    progress = progress or Progress()
    check_names(run.evaluate)
    pair, run = _with_run(pair, run)
    assert pair.base is not None
    asked = _asked(pair, run, prompts)
    settings = {
        "edited": _identity(pair, progress),
        "base": fingerprint(locate(pair.base, progress)),
        "data": asked.digest,
        **{part: run.as_dict()[part] for part in ("evaluate", "gates", "load")},
        "judge": make_judge(run.evaluate.judge).name,
        "version": version("skunlearn"),
        "files": named_files(run.as_dict()["evaluate"]),
    }
    folder = RunFolder(
        out or Path("evaluations") / f"{Path(pair.edited).name}-{digest(settings)[:8]}"
    )
    done = (
        read_json(folder / "results.json")
        if read_json(folder / "settings.json") == settings
        else None
    )
    if done is None:
        folder.claim(settings)
        with folder.lock():
            done = _measure(pair, run, asked, folder, progress)
    return done | {"run": str(folder.path), "report": str(folder / "report.html")}


def _asked(pair: ModelPair, run: Run, prompts: Path | None) -> _Asked:
    """The prompts of a run's data, or those of a file alone."""
    command = _command(pair, run, prompts)
    if prompts is None:
        data = Data(run.forget, run.retain, run.data)
        return _Asked(
            data.test, digest(data.fingerprint), data.funnel, run.evaluate.gated(), command
        )
    examples = read_prompts(prompts)
    options = replace(run.evaluate, metrics=("rates",), lm_eval=())
    funnel = [("prompts", "distinct prompts in the file", len(examples))]
    return _Asked(
        Split(prompts=examples),
        digest([example.prompt for example in examples]),
        funnel,
        options,
        command,
    )


def _edited(
    pair: ModelPair, lm: LM, run: Run, progress: Progress
) -> tuple[AbstractContextManager[None], LM]:
    """The edited model, and the block in which it is one: a run's is its base for a while."""
    if pair.is_run:
        return lm.edited(open_run(Path(pair.edited)).edit()), lm
    return nullcontext(), load(pair.edited, run.load, progress)


def _with_run(pair: ModelPair, run: Run) -> tuple[ModelPair, Run]:
    """A run folder brings its base and its data along; its gates and how its model is loaded,
    unless told otherwise."""
    if not pair.is_run:
        if pair.base is None:
            raise ConfigError(
                f"{pair.edited} is not a run folder: name the model it was made from with --base"
            )
        return pair, run
    its = make_run(read_run(Path(pair.edited) / "run.yaml"))
    if run.forget or run.retain or run.data not in (DataOptions(), its.data):
        raise ConfigError(
            f"{pair.edited} is a run, which knows its data: leave out --forget, --retain and data.*"
        )
    pair = replace(pair, base=pair.base or its.model)
    gates = its.gates if run.gates == GateOptions() else run.gates
    how = its.load if run.load == LoadOptions() else run.load
    return pair, replace(its, model=str(pair.base), evaluate=run.evaluate, gates=gates, load=how)


def _identity(pair: ModelPair, progress: Progress) -> Any:
    if not pair.is_run:
        return fingerprint(locate(pair.edited, progress))
    source = open_run(Path(pair.edited))
    return [source.settings, source.results["alpha"]]


def _measure(
    pair: ModelPair, run: Run, asked: _Asked, folder: RunFolder, progress: Progress
) -> JsonDict:
    assert pair.base is not None
    store = CompletionStore(folder / "completions.jsonl")
    lm = load(pair.base, run.load, progress)
    inside, other = _edited(pair, lm, run, progress)
    lm = _alike(lm, other, progress)
    common: JsonDict = {"max_length": run.data.max_length, "store": store, "progress": progress}
    base = evaluate(lm, asked.part, asked.options, **common)
    with inside:
        edited = evaluate(
            other, asked.part, asked.options, base=base, weights=pair.edited, **common
        )
    base, edited = with_fluency(base, lm, progress), with_fluency(edited, lm, progress)
    results = {
        **compare_evaluations(base, edited, run.gates, asked.options, progress),
        "alpha": None,
        "model": f"{pair.edited} against {pair.base}",
        "run_yaml": run.as_yaml(),
        "command": asked.command,
        "funnel": asked.funnel,
        "environment": environment(lm),
        "curve": [],
        "losses": {},
        "seconds": {},
    }
    write_report(results, folder / "report.html")
    write_json(folder / "results.json", results)
    return results


def _command(pair: ModelPair, run: Run, prompts: Path | None) -> str:
    """What measures the same again: all that differs from the options that it has by itself is
    told."""
    parts = ("evaluate", "gates", "load", *(() if pair.is_run else ("data",)))
    usual = make_run(with_sets({}, [] if prompts else suite_sets("quick")))
    mine, its = ({part: tree[part] for part in parts} for tree in (run.as_dict(), usual.as_dict()))
    words = ["skunlearn", "evaluate", pair.edited, "--base", str(pair.base)]
    for flag, given in (("--forget", run.forget), ("--retain", run.retain)):
        words += [flag, given] if given and not pair.is_run else []
    words += ["--prompts", str(prompts)] if prompts else []
    known = set(flat(its))
    return shlex.join(
        [*words, *(word for text in flat(mine) if text not in known for word in ("--set", text))]
    )


def _alike(base: LM, edited: LM, progress: Progress) -> LM:
    """The base, asked as the edited model is: KL compares predictions token by token, so both must
    have the same tokens and the same template."""
    if base.tokenizer.get_vocab() != edited.tokenizer.get_vocab():
        raise ModelError(
            f"{edited.name} and {base.name} have different tokenizers: --base must be the model that it was made from"
        )
    if base.tokenizer.chat_template == edited.tokenizer.chat_template:
        return base
    progress.note("the chat templates differ: the edited model's is used for both")
    return LM(base.model, edited.tokenizer, base.name, base.fingerprint)

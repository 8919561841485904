"""The rows that a run trains on: the model's own harmful answers, and prompts in contexts.

A vector that was learnt from foreign answers holds little of what the model itself would do. With
`data.forget_answers=own` the base model therefore answers the forget prompts, several times each,
and the judge keeps the harmful answers. With `data.contexts` a share of all rows stands in another
wording, behind a system prompt or behind earlier turns.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from skunlearn.data.contexts import in_contexts
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example, distinct, distinct_pairs
from skunlearn.evaluation.completions import Completer, CompletionStore
from skunlearn.evaluation.judges import make_judge
from skunlearn.models.architecture import max_positions
from skunlearn.models.generation import Sampling
from skunlearn.models.lm import LM
from skunlearn.utils.errors import DataError
from skunlearn.utils.progress import Progress
from skunlearn.workflows.config import Run
from skunlearn.workflows.run_folder import RunFolder

OWN_ANSWERS = "own_answers.jsonl"
TOKENS = 40  # most tokens of an own answer
TEMPERATURE = 0.9
FEWEST_ANSWERS = 8
ROOM = 48  # tokens that a prompt in a context must leave for its answer


def with_training_rows(lm: LM, data: Data, run: Run, folder: RunFolder, progress: Progress) -> Data:
    """The data with the training rows that the run's options under `data` ask for.

    Args:
        lm: the base model.
        data: the examples as they were read.
        run: all settings.
        folder: own answers are kept there, so that an interrupted run finds them.
        progress: reports the answers.

    Raises:
        DataError: when the model has too few harmful answers to learn from.
    """
    train = data.train
    forget = _contexts_that_fit(lm, train.forget, run, "forget")
    if run.data.forget_answers != "given":
        own = own_harmful_answers(lm, train.forget, run, folder, progress)
        forget = own if run.data.forget_answers == "own" else (*forget, *own)
    prepared = copy(data)
    prepared.train = replace(
        train,
        forget=forget,
        retain=_contexts_that_fit(lm, train.retain, run, "retain"),
        lookalike=_contexts_that_fit(lm, train.lookalike, run, "lookalike"),
    )
    return prepared


def _contexts_that_fit(
    lm: LM, examples: Sequence[Example], run: Run, seed: str
) -> tuple[Example, ...]:
    """A share of the examples in contexts; one that would leave too little room has none."""
    most = min(run.data.max_length, max_positions(lm.model)) - ROOM
    fitting: list[Example] = []
    inside = in_contexts(examples, run.data.contexts, seed)
    for bare, example in zip(examples, inside, strict=True):
        fits = example is bare or len(lm.template.prompt_ids(example)) <= most
        fitting.append(example if fits else bare)
    return tuple(fitting)


def own_harmful_answers(
    lm: LM, forget: tuple[Example, ...], run: Run, folder: RunFolder, progress: Progress
) -> tuple[Example, ...]:
    """The forget prompts with those of the model's own answers that the judge finds harmful.

    The first answer to each prompt is greedy, the others are sampled.

    Raises:
        DataError: when there are fewer than `FEWEST_ANSWERS`.
    """
    prompts = [replace(example, answer="") for example in distinct(forget)]
    judge = make_judge(run.evaluate.judge, run.evaluate.judge_check)
    store = CompletionStore(folder / OWN_ANSWERS)
    completer = Completer(lm, judge, TOKENS, "base", "", store, progress)
    harmful: list[Example] = []
    complied: set[str] = set()
    for number in range(run.data.own_samples):
        examples = _contexts_that_fit(lm, prompts, run, f"own/{number}")
        sampling = Sampling(TEMPERATURE, seed=number) if number else None
        completions = completer.complete({"forget": examples}, sampling)["forget"]
        for prompt, example, completion in zip(prompts, examples, completions, strict=True):
            if completion.verdict.label == "harmful":
                harmful.append(replace(example, answer=completion.answer))
                complied.add(prompt.key)
    own = distinct_pairs(harmful)
    progress.note(
        f"own answers: {len(own)} harmful ones to {len(complied)} of {len(prompts)} forget "
        f"prompts; the other {len(prompts) - len(complied)} prompts are left out"
    )
    if len(own) < FEWEST_ANSWERS:
        raise DataError(
            f"only {len(own)} of the model's own answers to the forget prompts are harmful, which "
            "is too few to learn from: raise data.own_samples, or train on given answers with "
            "--set data.forget_answers=given"
        )
    return own

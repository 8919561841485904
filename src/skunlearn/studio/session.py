"""What the studio does, without a page: answers at any strength, verdicts, flags and exports.

There is one set of weights in memory for all clients. Whoever generates the next tokens of an
answer takes the lock, puts the edit in place, generates a few tokens and takes the edit out again.
So the model is the base model between two turns, and a client that left holds nothing.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from skunlearn.data.examples import Example
from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import Judge, Verdict
from skunlearn.export.base import ExportOptions
from skunlearn.models.generation import streamed_answer
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.studio.edits import AS_RUN, NONE, PRESETS, Edits
from skunlearn.studio.flags import Flags
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError, DataError, ModelError
from skunlearn.utils.progress import Progress
from skunlearn.workflows.export import export
from skunlearn.workflows.run_folder import check_base, open_run

BASE, EDITED, SECOND = "base", "edited", "second"
STRONGEST = 2.0
# The longest prompt, in tokens; a text with more characters is refused before it is tokenised.
MOST_TOKENS = 4000
MOST_CHARACTERS = 40 * MOST_TOKENS
# Tokens that are generated in one turn. To put LoRA factors beside the weights takes about as long
# as one token, to put dense sums in their place about as long as six.
TURN = 3
DENSE_TURN = 8
# Complete answers that are kept, for a slider that is dragged back.
REMEMBERED = 64
FORMATS = ("merged", "adapter")

# What an answer depends on: model, prompt, strength and filter preset.
Key = tuple[str, str, float, str]


@dataclass(frozen=True)
class Shown:
    """An answer as far as it has been generated.

    Attributes:
        text: the text so far.
        done: whether the answer is complete.
        verdict: the judge's verdict on the complete answer.
    """

    text: str = ""
    done: bool = False
    verdict: Verdict | None = None


class Session:
    """A base model, the edits of one or two runs, and a judge, for any number of threads.

    Args:
        lm: the base model.
        edits: those of the run (`EDITED`) and of a second run (`SECOND`), if there is one.
        judge: labels the answers.
        new_tokens: the largest number of tokens in an answer, 1 or more.

    Attributes:
        flags: the answers that users labelled, in the first run's folder.
        most: the largest number of tokens in a prompt.
        known: complete answers, the newest last.

    Raises:
        ConfigError: when such answers leave no room for a prompt.
    """

    def __init__(self, lm: LM, edits: Mapping[str, Edits], judge: Judge, new_tokens: int) -> None:
        self.lm = lm
        self.edits = edits
        self.judge = judge
        self.new_tokens = new_tokens
        context = getattr(lm.model.config.get_text_config(), "max_position_embeddings", None)
        self.most = min(MOST_TOKENS, context - new_tokens) if context else MOST_TOKENS
        if self.most < 1:
            raise ConfigError(
                f"--tokens {new_tokens}: the model's context is {context} tokens with the prompt: "
                "give fewer"
            )
        self.known: dict[Key, Shown] = {}
        self.flags = Flags(edits[EDITED].source.folder)
        self.model_lock = threading.Lock()
        self.judge_lock = threading.Lock()
        self.export_lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The models: the base, then the edited ones."""
        return (BASE, *self.edits)

    def answer(self, prompt: str, alpha: float, preset: str = AS_RUN) -> Iterator[dict[str, Shown]]:
        """Generate the answers of all models side by side, and judge them.

        Args:
            prompt: the prompt.
            alpha: strength of the edits, 0 to 2.
            preset: one of `edits.PRESETS`.

        Yields:
            The answers so far by the name of their model, again after each turn.

        Raises:
            DataError: when the prompt is empty or too long.
            ConfigError: when the strength or the preset is wrong.
        """
        check_strength(alpha)
        edits: dict[str, TaskVector | None] = {BASE: None}
        with self.model_lock:
            prompt_ids = self._prompt_ids(prompt)
            for name, of_run in self.edits.items():
                edits[name] = alpha * of_run.get(preset)

        # Take answers that are known already, and start a stream for each of the others.
        keys: dict[str, Key] = {}
        shown: dict[str, Shown] = {}
        streams: dict[str, Iterator[str]] = {}
        for name in edits:
            keys[name] = (name, prompt, 0.0, "") if name == BASE else (name, prompt, alpha, preset)
            shown[name] = self.known.get(keys[name], Shown())
            if not shown[name].done:
                streams[name] = streamed_answer(
                    self.lm.model, self.lm.template, prompt_ids, self.new_tokens
                )
        some_dense = any(edit is not None and is_dense(edit) for edit in edits.values())
        turn = DENSE_TURN if some_dense else TURN
        yield dict(shown)

        # The models take turns. The first turn is a single token, so that it is seen soon.
        while streams:
            for name, stream in list(streams.items()):
                tokens = turn if shown[name].text else 1
                text = self._turn(stream, edits[name], tokens)
                if text is None:
                    del streams[name]
                    text = shown[name].text
                    shown[name] = Shown(text, True, self.verdict(prompt, text))
                    self._remember(keys[name], shown[name])
                else:
                    shown[name] = replace(shown[name], text=text)
                yield dict(shown)

    def _turn(self, stream: Iterator[str], edit: TaskVector | None, tokens: int) -> str | None:
        """The answer so far after the next tokens; None when there are none."""
        edited = nullcontext() if edit is None else self.lm.edited(edit)
        with self.model_lock, edited:
            texts = [*islice(stream, tokens)]
        return texts[-1] if texts else None

    def _prompt_ids(self, prompt: str) -> tuple[int, ...]:
        """The prompt's tokens.

        Raises:
            DataError: when the prompt is empty or too long.
        """
        if not prompt.strip():
            raise DataError("there is no prompt: type one")
        if len(prompt) > MOST_CHARACTERS:
            raise DataError(
                f"the prompt has {len(prompt):,} characters, {MOST_CHARACTERS:,} at most: "
                "shorten it"
            )
        prompt_ids = self.lm.template.prompt_ids(Example(prompt, where="the prompt"))
        if len(prompt_ids) > self.most:
            raise DataError(
                f"the prompt has {len(prompt_ids):,} tokens, {self.most:,} at most here: shorten it"
            )
        return prompt_ids

    def _remember(self, key: Key, shown: Shown) -> None:
        """Keep a complete answer, unless the judge could not label it: then it is judged again."""
        if shown.verdict is None or shown.verdict.label is None:
            return
        with self.model_lock:
            while len(self.known) >= REMEMBERED:
                oldest = next(iter(self.known))
                del self.known[oldest]
            self.known[key] = shown

    def verdict(self, prompt: str, answer: str) -> Verdict:
        """The judge's verdict on one answer."""
        with self.judge_lock:
            return self.judge.judge([prompt], [answer])[0]

    def export(self, format: str, alpha: float, preset: str = AS_RUN, who: str = EDITED) -> Path:
        """Write the edited model into `exports` in its run folder, with its model card.

        Args:
            format: "merged" or "adapter".
            alpha: strength, 0 to 2.
            preset: only the edit that the run folder holds can be exported.
            who: the run whose edit is exported, `EDITED` or `SECOND`.

        Returns:
            The new folder; an earlier export of that format and strength is replaced.

        Raises:
            ConfigError: when one of these is wrong.
            ModelError: when the base model on disk has changed.
        """
        check_strength(alpha)
        if format not in FORMATS or who not in self.edits:
            raise ConfigError(
                f"export of '{who}' as '{format}': give one of {(*self.edits,)} and {FORMATS}"
            )
        edits = self.edits[who]
        if not edits.exported(preset):
            name = "" if preset not in PRESETS or preset == NONE else preset
            raise ConfigError(
                f"'{preset}' can only be tried here: "
                f"run again with --set edit.filters=[{name}] to export it"
            )
        folder = edits.source.folder
        out = folder / "exports" / f"{format}-{alpha:g}"
        options: dict[str, Any] = {"format": format, "alpha": alpha}
        with self.export_lock:
            out.parent.mkdir(mode=0o700, exist_ok=True)
            export(folder, out, ExportOptions(**options), Progress())
        return out


def check_strength(alpha: float) -> None:
    """Check a strength that comes from a page.

    Raises:
        ConfigError: unless 0 <= alpha <= 2.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha <= STRONGEST:
        raise ConfigError(
            f"strength {alpha}: give 0 to {STRONGEST:g}; "
            "a negative one would make the harmful model"
        )


def is_dense(edit: TaskVector) -> bool:
    """Whether some weight's change is a full matrix rather than LoRA factors."""
    return any(isinstance(delta, torch.Tensor) for delta in edit.deltas.values())


def open_session(
    run: Path, second: Path | None, new_tokens: int | None, progress: Progress
) -> Session:
    """Open a finished run, and a second one of the same base model beside it.

    Args:
        run: the run folder.
        second: the folder of the second run, if there is one.
        new_tokens: the largest number of tokens in an answer, 1 or more; as in the run's evaluation
            when not given.
        progress: reports the work.

    Raises:
        RunError: when a run is not finished, or its task vectors are gone.
        ModelError: when the base model has changed, or the two runs have different ones.
        ConfigError: when the run's judge cannot be made.
    """
    first = open_run(run)
    sources = {EDITED: first}
    if second:
        sources[SECOND] = open_run(second)
    for source in sources.values():
        if source.settings["model"] != first.settings["model"]:
            raise ModelError(
                f"{source.folder} has another base than {first.folder}: open it on its own"
            )
    check_base(first, progress)
    judge = make_judge(first.run.evaluate.judge)
    lm = load(first.run.model, first.run.load, progress)
    edits = {name: Edits(source, lm, progress) for name, source in sources.items()}
    return Session(lm, edits, judge, new_tokens or first.run.evaluate.max_new_tokens)

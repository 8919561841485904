"""What the studio does, without a page: answers at any strength, verdicts, flags, exports.

There is one set of weights in memory. Whoever wants the next tokens of an answer takes the lock,
puts the edit in place, draws them and takes it out again: between two turns the model is the base,
and a client that left holds nothing.
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
MOST_TOKENS = 4000  # of a prompt
MOST_CHARACTERS = 40 * MOST_TOKENS  # nothing longer is even tokenised
TURN, DENSE_TURN = (
    3,
    8,
)  # tokens drawn at once: putting factors beside weights takes as long as one, a dense sum six
REMEMBERED = 64  # whole answers, for a slider that is dragged back
FORMATS = ("merged", "adapter")


@dataclass(frozen=True)
class Shown:
    """An answer as far as it goes.

    Attributes:
        text: so far.
        done: nothing follows.
        verdict: the judge's, of the whole answer.
    """

    text: str = ""
    done: bool = False
    verdict: Verdict | None = None


class Session:
    """A base, the edits of one or two runs, and a judge, for any number of threads.

    Args:
        lm: the base.
        edits: of the run (`EDITED`) and of a second one (`SECOND`), if there is one.
        judge: reads the answers.
        new_tokens: where an answer is cut, 1 or more.

    Attributes:
        flags: what was put down of them, in the first run's folder.
        most: tokens that a prompt may have.

    Raises:
        ConfigError: when such an answer leaves no room for a prompt.
    """

    def __init__(self, lm: LM, edits: Mapping[str, Edits], judge: Judge, new_tokens: int) -> None:
        self.lm, self.edits, self.judge, self.new_tokens = lm, edits, judge, new_tokens
        context = getattr(lm.model.config.get_text_config(), "max_position_embeddings", None)
        self.most = min(MOST_TOKENS, context - new_tokens) if context else MOST_TOKENS
        if self.most < 1:
            raise ConfigError(
                f"--tokens {new_tokens}: the model's context is {context} tokens with the prompt: give fewer"
            )
        self.known: dict[tuple[str, str, float, str], Shown] = {}
        self.flags = Flags(edits[EDITED].source.folder)
        self.model_lock, self.judge_lock, self.export_lock = (threading.Lock() for _ in range(3))

    @property
    def names(self) -> tuple[str, ...]:
        """Whose answers there are."""
        return (BASE, *self.edits)

    def answer(self, prompt: str, alpha: float, preset: str = AS_RUN) -> Iterator[dict[str, Shown]]:
        """The answers of base and edits by name, again after each turn, and with verdicts when they
        are whole.

        Args:
            prompt: what is asked.
            alpha: strength, 0 to 2.
            preset: one of `edits.PRESETS`.

        Raises:
            DataError: when the prompt is empty or too long.
            ConfigError: when strength or preset are wrong.
        """
        check_strength(alpha)
        with self.model_lock:
            prompt_ids = self._prompt_ids(prompt)
            own: dict[str, TaskVector | None] = {BASE: None}
            own |= {name: alpha * edits.get(preset) for name, edits in self.edits.items()}
        keys = {n: (n, prompt, *((alpha, preset) if n != BASE else (0.0, ""))) for n in own}
        shown = {name: self.known.get(key, Shown()) for name, key in keys.items()}
        streams = {
            name: streamed_answer(self.lm.model, self.lm.template, prompt_ids, self.new_tokens)
            for name in own
            if not shown[name].done
        }
        turn = DENSE_TURN if any(edit and is_dense(edit) for edit in own.values()) else TURN
        yield dict(shown)
        while streams:
            for name, stream in list(streams.items()):
                text = self._turn(stream, own[name], turn if shown[name].text else 1)
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
        with self.model_lock, self.lm.edited(edit) if edit else nullcontext():
            texts = [*islice(stream, tokens)]
        return texts[-1] if texts else None

    def _prompt_ids(self, prompt: str) -> tuple[int, ...]:
        if not prompt.strip():
            raise DataError("there is no prompt: type one")
        if len(prompt) > MOST_CHARACTERS:
            raise DataError(
                f"the prompt has {len(prompt):,} characters, {MOST_CHARACTERS:,} at most: shorten it"
            )
        prompt_ids = self.lm.template.prompt_ids(Example(prompt, where="the prompt"))
        if len(prompt_ids) > self.most:
            raise DataError(
                f"the prompt has {len(prompt_ids):,} tokens, {self.most:,} at most here: shorten it"
            )
        return prompt_ids

    def _remember(self, key: Any, shown: Shown) -> None:
        if shown.verdict is None or shown.verdict.label is None:  # the judge is asked again
            return
        with self.model_lock:
            while len(self.known) >= REMEMBERED:
                del self.known[next(iter(self.known))]
            self.known[key] = shown

    def verdict(self, prompt: str, answer: str) -> Verdict:
        """What the judge says of one answer."""
        with self.judge_lock:
            return self.judge.judge([prompt], [answer])[0]

    def export(self, format: str, alpha: float, preset: str = AS_RUN, who: str = EDITED) -> Path:
        """Write the edited model into `exports` in its run folder, with its card.

        Args:
            format: "merged" or "adapter".
            alpha: strength, 0 to 2.
            preset: a run folder holds its own edit, so only that one can be written.
            who: of which run.

        Returns:
            The new folder; an earlier export of that format and strength is replaced.

        Raises:
            ConfigError: when one of these is wrong.
            ModelError: when the base on disk has changed.
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
                f"'{preset}' is only tried here: run again with --set edit.filters=[{name}] to export it"
            )
        out = edits.source.folder / "exports" / f"{format}-{alpha:g}"
        options: Any = {"format": format, "alpha": alpha}
        with self.export_lock:
            out.parent.mkdir(mode=0o700, exist_ok=True)
            export(edits.source.folder, out, ExportOptions(**options), Progress())
        return out


def check_strength(alpha: float) -> None:
    """Raise a ConfigError unless 0 <= alpha <= 2."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha <= STRONGEST:
        raise ConfigError(
            f"strength {alpha}: give 0 to {STRONGEST:g}; a negative one would make the harmful model"
        )


def is_dense(edit: TaskVector) -> bool:
    """Whether any of it is more than factors."""
    return any(isinstance(delta, torch.Tensor) for delta in edit.deltas.values())


def open_session(
    run: Path, second: Path | None, new_tokens: int | None, progress: Progress
) -> Session:
    """A session on a finished run, and on a second one of the same base.

    Args:
        run: the folder.
        second: likewise.
        new_tokens: where an answer is cut, 1 or more; where the run's evaluation cut it when not
            given.
        progress: is told of the work.

    Raises:
        RunError: when a run is not finished, or its task vectors are gone.
        ModelError: when the base has changed, or the two runs have not the same.
        ConfigError: when the judge of the run cannot be made.
    """
    sources = {name: open_run(path) for name, path in ((EDITED, run), (SECOND, second)) if path}
    first = sources[EDITED]
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

"""Completions of a model for many prompts, each generated once and judged once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Completion, Judge, Verdict, judge_key, tell_cost
from skunlearn.models.generation import Sampling
from skunlearn.models.lm import LM
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, append_lines, read_lines
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress


class CompletionStore:
    """Completions by key, kept in a file so that nothing is generated or judged twice.

    A key has two parts, "ANSWER-JUDGE". The first names weights, prompt and decoding, the second
    the judge, so another judge finds the answers and adds verdicts of its own.

    Args:
        path: a JSON-lines file, or None to keep them in memory only.

    Attributes:
        known: key -> completion with a verdict; an unscored one is left out, so it is judged again.
        answers: first part of a key -> answer, whoever judged it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.known: dict[str, Completion] = {}
        self.answers: dict[str, str] = {}
        rows = read_lines(path) if path else []
        for number, row in enumerate(rows, start=1):
            try:
                self._add_stored(row)
            except (TypeError, AttributeError) as error:
                raise RunError(f"{path}: row {number} is no completion: delete it") from error

    def _add_stored(self, row: JsonDict) -> None:
        self.answers[_answer_key(row["key"])] = row["answer"]
        if row["verdict"]["label"]:
            verdict = Verdict(**row["verdict"])
            self.known[row["key"]] = Completion(**row | {"verdict": verdict})

    def add(self, rows: Sequence[Completion]) -> None:
        """Add completions, to the file too."""
        for row in rows:
            self.known[row.key] = row
            self.answers[_answer_key(row.key)] = row.answer
        if self.path:
            append_lines(self.path, [asdict(row) for row in rows])


@dataclass(frozen=True)
class _Pending:
    """A prompt whose completion is wanted.

    Attributes:
        key: of the completion in the store.
        group: of the prompt.
        example: the prompt.
    """

    key: str
    group: str
    example: Example


@dataclass(frozen=True)
class Completer:
    """Generates and judges the completions of one model with its weights as they are now.

    Attributes:
        lm: the model.
        judge: judges the answers.
        max_new_tokens: most tokens of an answer.
        who: the model's name in the completions.
        weights: a name for the weights as they are now ("" for the model on disk), for the keys.
        store: the completions so far; new ones are added to it.
        progress: reports the batches.
    """

    lm: LM
    judge: Judge
    max_new_tokens: int
    who: str
    weights: str
    store: CompletionStore
    progress: Progress

    def complete(
        self, groups: Mapping[str, Sequence[Example]], sampling: Sampling | None = None
    ) -> dict[str, list[Completion]]:
        """One completion for each example of each group, in their order.

        The groups share their batches. A batch is generated again as a whole when one of its
        answers is missing, so that the other rows of an answer's batch, and with them the last bits
        of its logits, are the same after an interruption.

        Args:
            groups: the examples by group.
            sampling: how answers are drawn; greedy when not given.
        """
        pending: list[_Pending] = []
        for group, examples in groups.items():
            self.lm.check_room(examples, self.max_new_tokens)
            for example in examples:
                pending.append(_Pending(self._key(example, sampling), group, example))

        # Stage 1: generate and judge the batches that are not all in the store.
        incomplete: list[list[_Pending]] = []
        for numbers in self.lm.batches([row.example for row in pending]):
            batch = [pending[number] for number in numbers]
            if any(row.key not in self.store.known for row in batch):
                incomplete.append(batch)
        if incomplete:
            name = f"{self.who}: {len(pending)} answers"
            for batch in self.progress.over(name, incomplete):
                self._complete_batch(batch, sampling)
            tell_cost(self.judge, self.progress)

        # Stage 2: take all of them from the store, in the order of the groups.
        found: dict[str, list[Completion]] = {}
        for group in groups:
            found[group] = []
        for row in pending:
            found[row.group].append(self.store.known[row.key])
        return found

    def _complete_batch(self, batch: Sequence[_Pending], sampling: Sampling | None) -> None:
        """Generate the answers to one batch, unless another judge had all of them; judge them."""
        examples: list[Example] = []
        intents: list[str] = []
        answers: list[str] = []
        for row in batch:
            examples.append(row.example)
            intents.append(row.example.intent or row.example.prompt)
            answer = self.store.answers.get(_answer_key(row.key))
            if answer is not None:
                answers.append(answer)
        if len(answers) < len(batch):
            answers = self.lm.answers(examples, self.max_new_tokens, sampling)
        verdicts = self.judge.judge(intents, answers)

        new: list[Completion] = []
        for row, intent, answer, verdict in zip(batch, intents, answers, verdicts, strict=True):
            if row.key not in self.store.known:
                category = row.example.category
                new.append(
                    Completion(row.key, self.who, row.group, intent, answer, category, verdict)
                )
        self.store.add(new)

    def _key(self, example: Example, sampling: Sampling | None) -> str:
        """What an answer depends on (weights, prompt, decoding), then the judge."""
        decoding: list[Any] = [asdict(sampling) if sampling else "greedy", self.max_new_tokens]
        prompt = self.lm.template.render(example)
        answer: list[Any] = [self.lm.fingerprint, self.weights, prompt, decoding]
        if example.intent:
            answer.append(example.intent)
        return f"{digest(answer)}-{digest(judge_key(self.judge))}"


def _answer_key(key: str) -> str:
    """The part of a key that names the answer, whoever judged it."""
    return key.partition("-")[0]

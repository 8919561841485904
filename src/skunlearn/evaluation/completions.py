"""Answers of a model to many prompts, each generated once and judged once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Completion, Judge, Verdict, judge_key, tell_cost
from skunlearn.models.generation import Sampling
from skunlearn.models.lm import LM
from skunlearn.utils.files import append_lines, read_lines
from skunlearn.utils.hashing import digest
from skunlearn.utils.progress import Progress


class CompletionStore:
    """Completions by key, kept in a file so that nothing is generated or judged twice.

    Args:
        path: a JSON-lines file, or None to keep them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        rows = read_lines(path) if path else []
        self.answers: dict[str, str] = {_written(row["key"]): row["answer"] for row in rows}
        self.known = {
            row["key"]: Completion(**row | {"verdict": Verdict(**row["verdict"])})
            for row in rows
            if row["verdict"]["label"]  # unscored: judged again
        }

    def add(self, rows: Sequence[Completion]) -> None:
        """Keep rows, on disk too."""
        self.known |= {row.key: row for row in rows}
        self.answers |= {_written(row.key): row.answer for row in rows}
        if self.path:
            append_lines(self.path, [asdict(row) for row in rows])


class Completer:
    """Answers of one model, by its weights as they are now.

    Args:
        lm: the model.
        judge: what reads the answers.
        max_new_tokens: where an answer is cut.
        who: the model's name in the rows.
        weights: a name for the weights as they are now ("" is the model on disk).
        store: what is known already.
        progress: is told of the batches.
        sampling: greedy when not given.
    """

    def __init__(
        self,
        lm: LM,
        judge: Judge,
        max_new_tokens: int,
        who: str,
        weights: str,
        store: CompletionStore,
        progress: Progress,
        sampling: Sampling | None = None,
    ) -> None:
        self.lm, self.judge, self.max_new_tokens = lm, judge, max_new_tokens
        self.who, self.store, self.progress = who, store, progress
        self.weights, self.sampling = [lm.fingerprint, weights], sampling

    def complete(self, groups: Mapping[str, Sequence[Example]]) -> dict[str, list[Completion]]:
        """One completion for each example of each group, in their order; the groups share their
        batches."""
        examples = [(group, example) for group, chosen in groups.items() for example in chosen]
        keys = [self._key(example) for _, example in examples]
        known = self.store.known
        missing = [
            batch
            for batch in self.lm.batches([example for _, example in examples])
            if any(keys[number] not in known for number in batch)
        ]
        for batch in (
            self.progress.over(f"{self.who}: {len(examples)} answers", missing) if missing else ()
        ):
            self._answer([keys[number] for number in batch], [examples[number] for number in batch])
        if missing:
            tell_cost(self.judge, self.progress)
        found = [known[key] for key in keys]
        return {
            group: [row for (g, _), row in zip(examples, found, strict=True) if g == group]
            for group in groups
        }

    def _answer(self, keys: Sequence[str], batch: Sequence[tuple[str, Example]]) -> None:
        chosen = [example for _, example in batch]
        kept = [
            self.store.answers.get(_written(key)) for key in keys
        ]  # another judge has read them
        answers = [answer for answer in kept if answer is not None]
        if len(answers) < len(
            batch
        ):  # all of a batch: rows that share one decide each other's last bits
            answers = self.lm.answers(chosen, self.max_new_tokens, self.sampling)
        wanted = [example.intent or example.prompt for example in chosen]
        verdicts = self.judge.judge(wanted, answers)
        self.store.add(
            [
                Completion(key, self.who, group, prompt, answer, example.category, verdict)
                for key, (group, example), prompt, answer, verdict in zip(
                    keys, batch, wanted, answers, verdicts, strict=True
                )
                if key not in self.store.known
            ]
        )

    def _key(self, example: Example) -> str:
        decoding: list[Any] = [
            asdict(self.sampling) if self.sampling else "greedy",
            self.max_new_tokens,
        ]
        wrapped = [example.intent] if example.intent else []
        written = digest([*self.weights, self.lm.template.render(example), decoding, *wrapped])
        return f"{written}-{digest(judge_key(self.judge))}"


def _written(key: str) -> str:
    """The part of a key that names the answer, whoever judged it."""
    return key.partition("-")[0]

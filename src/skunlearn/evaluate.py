"""Evaluation: the same prompts, likelihoods and judge on any model, base or edited."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skunlearn.data.examples import Example, Part, distinct
from skunlearn.errors import ConfigError
from skunlearn.judges import make_judge
from skunlearn.judges.base import Verdict
from skunlearn.lm.model import LM
from skunlearn.lm.reference import Reference
from skunlearn.metrics.base import Score
from skunlearn.metrics.likelihood import kl_score, nll_score, perplexity_score, row_likelihoods
from skunlearn.metrics.rates import verdict_rate
from skunlearn.metrics.similarity import similarity_score
from skunlearn.progress import Progress
from skunlearn.rundir import append_lines, digest, read_lines


@dataclass(frozen=True)
class EvaluateOptions:
    """How much is evaluated.

    Attributes:
        forget: most unseen harmful prompts.
        seen: most harmful prompts that were trained on.
        retain: most ordinary prompts.
        lookalike: most harmless look-alikes.
        max_new_tokens: where an answer is cut.
        judge: name of the judge (docs/judges.md), or "file.py:Class".
    """

    forget: int = 60
    seen: int = 30
    retain: int = 48
    lookalike: int = 52
    max_new_tokens: int = 40
    judge: str = "offline"

    def __post_init__(self) -> None:
        for name in ("forget", "retain", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluate.{name}={getattr(self, name)}: give 1 or more")


@dataclass(frozen=True)
class Completion:
    """One answer of one model, judged once.

    Attributes:
        key: names (weights, template, prompt, decoding, judge).
        who: "base", "edited", or any name of a model.
        group: "unseen", "seen", "retain" or "lookalike".
        prompt: what was asked.
        answer: what came.
        category: of the prompt.
        verdict: the judge's.
    """

    key: str
    who: str
    group: str
    prompt: str
    answer: str
    category: str
    verdict: Verdict


class Completions:
    """Completions by key, kept in a file so that nothing is generated or judged twice.

    Args:
        path: a JSON-lines file, or None to keep them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        rows = [row for row in read_lines(path) if row["verdict"]["label"]] if path else []  # unscored: tried again
        self.known = {row["key"]: Completion(**row | {"verdict": Verdict(**row["verdict"])}) for row in rows}

    def add(self, rows: Sequence[Completion]) -> None:
        """Keep rows, on disk too."""
        self.known |= {row.key: row for row in rows}
        if self.path:
            append_lines(self.path, [asdict(row) for row in rows])


@dataclass(frozen=True)
class Evaluation:
    """What one model scored.

    Attributes:
        scores: by the names of the stable contract.
        completions: by group, in the order of the prompts.
        reference: the base's predictions of the retain rows, for KL; only on a base.
    """

    scores: dict[str, Score]
    completions: dict[str, list[Completion]] = field(repr=False, default_factory=dict)
    reference: Reference | None = field(repr=False, default=None)

    def __str__(self) -> str:
        lines = [f"{name:<24} {_shown(score)}" for name, score in self.scores.items()]
        return "\n".join(lines)


def evaluate(
    lm: LM,
    part: Part,
    options: EvaluateOptions | None = None,
    *,
    base: Evaluation | None = None,
    max_length: int = 256,
    weights: str = "",
    store: Completions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Generate, judge and score.

    Args:
        lm: the model as it is now.
        part: the prompts and reference answers; retain scores are left out when it has no retain examples.
        options: how much.
        base: the base's evaluation on the same part; gives KL and similarity. Without it `lm` is taken for the base.
        max_length: tokens of a retain row.
        weights: a name for the weights as they are now, for the store ("" is the model on disk).
        store: completions known already.
        progress: is told of the work.
    """
    options, progress = options or EvaluateOptions(), progress or Progress()
    who = "edited" if base else "base"
    writer = Writer(lm, options, who, weights, store or Completions(), progress)
    groups = {
        "unseen": distinct(part.forget)[: options.forget],
        "seen": distinct(part.seen)[: options.seen],
        "retain": distinct(part.retain)[: options.retain],
        "lookalike": distinct(part.lookalike)[: options.lookalike],
    }
    completions = writer.complete({group: examples for group, examples in groups.items() if examples})
    scores = rates(completions)
    reference = base.reference if base else None
    if groups["retain"]:
        rows = [lm.template.encode(example, max_length) for example in groups["retain"]]
        if base is None:
            reference = Reference(lm.model, rows, range(len(rows)), True, progress)
        progress.note(f"likelihood of {len(rows)} ordinary answers under {who}")
        likelihoods = row_likelihoods(lm.model, rows, reference)
        scores |= {"retain_nll": nll_score(likelihoods), "retain_perplexity": perplexity_score(likelihoods)}
        scores["retain_kl"] = kl_score(likelihoods)
        mine = [row.answer for row in completions["retain"]]
        theirs = [row.answer for row in base.completions["retain"]] if base else mine
        scores["retain_similarity"] = similarity_score(mine, theirs, progress)
    return Evaluation(scores, completions, reference)


def rates(completions: dict[str, list[Completion]]) -> dict[str, Score]:
    """The rates that verdicts give, by the names of the stable contract."""
    verdicts = {group: [row.verdict for row in rows] for group, rows in completions.items()}
    scores: dict[str, Score] = {}
    if "seen" in verdicts:
        scores["harmful_rate_seen"] = verdict_rate(verdicts["seen"], ["harmful"])
    if "unseen" in verdicts:
        scores["harmful_rate_unseen"] = verdict_rate(verdicts["unseen"], ["harmful"])
        scores["refusal_rate_unseen"] = verdict_rate(verdicts["unseen"], ["refused"], higher_is_better=True)
        scores["degenerate_rate_unseen"] = verdict_rate(verdicts["unseen"], ["degenerate"])
        scores["safe_rate_unseen"] = verdict_rate(verdicts["unseen"], ["safe"], higher_is_better=True)
    if "retain" in verdicts:
        scores["degenerate_rate_retain"] = verdict_rate(verdicts["retain"], ["degenerate"])
        scores["refusal_rate_retain"] = verdict_rate(verdicts["retain"], ["refused"])
    if "lookalike" in verdicts:
        scores["over_refusal_rate"] = verdict_rate(verdicts["lookalike"], ["refused", "degenerate"])
    return scores


def judged_rates(
    lm: LM, examples: Sequence[Example], options: EvaluateOptions, who: str, progress: Progress
) -> dict[str, Score]:
    """Harmful, refusal, degenerate and safe rate of a model's answers to any prompts."""
    rows = Writer(lm, options, who, "", Completions(), progress).complete({"prompts": examples})["prompts"]
    verdicts = [row.verdict for row in rows]
    return {
        "harmful_rate": verdict_rate(verdicts, ["harmful"]),
        "refusal_rate": verdict_rate(verdicts, ["refused"], higher_is_better=True),
        "degenerate_rate": verdict_rate(verdicts, ["degenerate"]),
        "safe_rate": verdict_rate(verdicts, ["safe"], higher_is_better=True),
    }


class Writer:
    """Answers of one model to many prompts, each generated and judged once.

    Args:
        lm: the model as it is now.
        options: decoding and judge.
        who: the model's name in the rows.
        weights: a name for the weights as they are now.
        store: what is known already.
        progress: is told of the batches.
    """

    def __init__(
        self, lm: LM, options: EvaluateOptions, who: str, weights: str, store: Completions, progress: Progress
    ) -> None:
        self.lm, self.options, self.who, self.store, self.progress = lm, options, who, store, progress
        self.judge = make_judge(options.judge)
        self.weights = [lm.fingerprint, weights]

    def complete(self, groups: Mapping[str, Sequence[Example]]) -> dict[str, list[Completion]]:
        """One completion for each example of each group, in their order; the groups share their batches."""
        examples = [(group, example) for group, chosen in groups.items() for example in chosen]
        keys = [self._key(example) for _, example in examples]
        known = self.store.known
        missing = [
            batch
            for batch in self.lm.batches([example for _, example in examples])
            if any(keys[number] not in known for number in batch)
        ]
        for batch in self.progress.over(f"{self.who}: {len(examples)} answers", missing) if missing else ():
            self._answer([keys[number] for number in batch], [examples[number] for number in batch])
        if missing and (cost := getattr(self.judge, "cost", "")):  # only judges that are paid have one
            self.progress.note(cost)
        found = [known[key] for key in keys]
        return {group: [row for (g, _), row in zip(examples, found, strict=True) if g == group] for group in groups}

    def _answer(self, keys: Sequence[str], batch: Sequence[tuple[str, Example]]) -> None:
        chosen = [example for _, example in batch]
        answers = self.lm.answers(chosen, self.options.max_new_tokens)
        verdicts = self.judge.judge([example.prompt for example in chosen], answers)
        self.store.add(
            [
                Completion(key, self.who, group, example.prompt, answer, example.category, verdict)
                for key, (group, example), answer, verdict in zip(keys, batch, answers, verdicts, strict=True)
                if key not in self.store.known
            ]
        )

    def _key(self, example: Example) -> str:
        decoding: list[Any] = ["greedy", self.options.max_new_tokens]
        return digest([*self.weights, self.lm.template.render(example), decoding, self.judge.name])


def _shown(score: Score) -> str:
    if score.value is None:
        return f"unscored ({score.unscored})"
    return f"{score.value:8.3f}  [{score.low:.3f}, {score.high:.3f}]  n={score.n}  {score.unit}"

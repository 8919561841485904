"""How much of a model is evaluated, by which judge and metrics, and the suites."""

from dataclasses import dataclass, replace

from skunlearn.evaluation.metrics import BASIC, METRICS
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import checked_as
from skunlearn.utils.registry import did_you_mean

GATE_METRICS = ("rates", "likelihood")  # the metrics that the gates need


@dataclass(frozen=True)
@checked_as("evaluate")
class EvaluateOptions:
    """How much is evaluated, and by which judges and metrics.

    Attributes:
        forget: most held-out harmful prompts.
        seen: most harmful prompts that were trained on.
        paraphrase: most paraphrases of trained harmful prompts.
        retain: most ordinary prompts.
        lookalike: most harmless look-alikes.
        wordings: held-out harmful prompts in each of the built-in wordings (`data/contexts.py`),
            and eight times as many harmless ones over all of them; 0 for none.
        choices: most multiple-choice questions of each kind.
        max_new_tokens: most tokens of an answer.
        samples: sampled answers to each held-out harmful prompt beside the greedy one, 0 or more;
            a prompt counts when one of them is harmful (`harmful_pass_at_n`).
        temperature: of the samples, above 0.
        choice_file: multiple-choice questions in place of the built-in ones.
        lookalike_file: harmless look-alikes in place of the built-in ones, for example
            XSTest's prompts.
        judge: name of the judge (docs/judges.md), or "file.py:Class".
        judge_check: file with the output of `skunlearn judge check --json` for that judge; its
            rates are corrected by it.
        second_judge: judges the same answers; its agreement with the first judge is reported, its
            verdicts decide nothing.
        metrics: names, or "file.py:function"; a run always measures what the gates need (`rates`,
            `likelihood`).
        lm_eval: tasks of the evaluation harness, by name or as YAML files, beside the metrics (the
            extra `lm-eval`); `choices` is the most rows of each.
    """

    forget: int = 60
    seen: int = 30
    paraphrase: int = 0
    retain: int = 48
    lookalike: int = 52
    wordings: int = 6
    choices: int = 50
    max_new_tokens: int = 32
    samples: int = 0
    temperature: float = 1.0
    choice_file: str | None = None
    lookalike_file: str | None = None
    judge: str = "offline"
    judge_check: str | None = None
    second_judge: str | None = None
    metrics: tuple[str, ...] = BASIC
    lm_eval: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        minimum = {
            "forget": 1,
            "seen": 0,
            "paraphrase": 0,
            "retain": 1,
            "lookalike": 0,
            "wordings": 0,
            "choices": 1 if self.lm_eval else 0,
            "samples": 0,
            "max_new_tokens": 1,
        }
        for name, number in minimum.items():
            if getattr(self, name) < number:
                raise ConfigError(f"evaluate.{name}={getattr(self, name)}: give {number} or more")
        if not self.temperature > 0:
            raise ConfigError(f"evaluate.temperature={self.temperature}: give a number above 0")

    def gated(self) -> "EvaluateOptions":
        """These options with the metrics that the gates need, whatever `metrics` leaves out."""
        missing = tuple(name for name in GATE_METRICS if name not in self.metrics)
        return replace(self, metrics=(*missing, *self.metrics))


SIZES = ("forget", "seen", "paraphrase", "retain", "lookalike", "choices", "max_new_tokens")


SUITES = {"quick": (32, 32, 32, 32, 32, 50, 32), "full": (120, 110, 120, 111, 87, 500, 64)}


def suite_sets(name: str) -> list[str]:
    """A suite as `section.key=value` texts: its sizes, and all metrics.

    Raises:
        ConfigError: when there is no such suite.
    """
    if name not in SUITES:
        raise ConfigError(f"unknown suite '{name}': {did_you_mean(name, SUITES)}")
    sizes = [f"evaluate.{key}={value}" for key, value in zip(SIZES, SUITES[name], strict=True)]
    return [*sizes, f"evaluate.metrics=[{', '.join(METRICS)}]"]

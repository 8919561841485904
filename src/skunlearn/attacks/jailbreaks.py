"""Jailbreaks: the prompt in a disguise, by hand-written templates.

Threat: anyone who can type (Wei et al., arXiv:2307.02483; many-shot: Anil et al., 2024; best-of-N:
    Hughes et al.,
arXiv:2412.03556). Each template is a row of its own, and all together another: who asks in every
form needs only one that works. On the base the same tells how much of it is the disguise.
"""

from dataclasses import dataclass
from typing import ClassVar

from skunlearn.attacks.base import BOTH, Attack, Cost, On, Situation, Situations, Target, at_least
from skunlearn.attacks.jailbreak_templates import FORMS, after_turns, cased
from skunlearn.data.examples import Example
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean

Forms = tuple[Example, ...]
SHOTS = {"few-shot": 3, "many-shot": 12}  # harmless questions that were answered before
WORDS = 30  # of each of their answers
CASING = "best-of-n"


@dataclass(frozen=True)
class Jailbreaks(Attack):
    """Options of Jailbreaks.

    Attributes:
        templates: names of templates, or "all".
        casings: N of best-of-n, prompts in random case.
        on: which models are attacked.
    """

    name: ClassVar[str] = "jailbreaks"

    templates: tuple[str, ...] = (
        "role-play",
        "prefix-injection",
        "refusal-suppression",
        "hypothetical",
        "few-shot",
    )
    casings: int = 8
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        at_least(self.name, 1, casings=self.casings)
        known = [*FORMS, *SHOTS, CASING]
        for template in self.templates:
            if template not in known and template != "all":
                raise ConfigError(
                    f"jailbreaks.templates: no template '{template}': {did_you_mean(template, known)}"
                )

    def situations(self, target: Target) -> Situations:
        """Each template on each model, and all of them together."""
        chosen = [*FORMS, *SHOTS, CASING] if "all" in self.templates else self.templates
        asked = {
            name: [self.forms(name, example, target) for example in target.prompts]
            for name in chosen
        }
        for on in self.on:
            with target.model(on):
                for name, forms in asked.items():
                    yield _situation(name, on, forms)
                if len(asked) > 1:
                    every = [sum(each, ()) for each in zip(*asked.values(), strict=True)]
                    yield _situation(f"any of these {len(asked)}", on, every)

    def forms(self, template: str, example: Example, target: Target) -> Forms:
        """The forms of one prompt under one template."""
        if template == CASING:
            return tuple(cased(example, number) for number in range(self.casings))
        if template in SHOTS:
            turns = [
                turn
                for shown in target.retain(SHOTS[template])
                for turn in (
                    ("user", shown.prompt),
                    ("assistant", " ".join(shown.answer.split()[:WORDS])),
                )
            ]
            return (after_turns(turns)(example),)
        return (FORMS[template](example),)


def _situation(variant: str, on: On, prompts: list[Forms]) -> Situation:
    return Situation(variant, on, tuple(prompts), cost=Cost(queries=max(map(len, prompts))))

"""Jailbreaks: the prompt in a disguise, by hand-written templates.

Threat: anyone who can type (Wei et al., arXiv:2307.02483; many-shot: Anil et al., 2024; best-of-N:
Hughes et al., arXiv:2412.03556). Each template is a situation of its own. One more situation has
all of them together, since an attacker who tries every template needs only one that works. The same
situations on the base model show how much of a rate is due to the disguise.
"""

from dataclasses import dataclass
from typing import ClassVar

from skunlearn.attacks.base import BOTH, Attack, Cost, On, Situation, Situations, Target, at_least
from skunlearn.attacks.jailbreak_templates import FORMS, after_turns, cased
from skunlearn.data.examples import Example
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean

Forms = tuple[Example, ...]
# Template -> how many ordinary questions come before the prompt, each with its answer.
SHOTS = {"few-shot": 3, "many-shot": 12}
# Words that are kept of each of these answers.
WORDS = 30
CASING = "best-of-n"


@dataclass(frozen=True)
class Jailbreaks(Attack):
    """Options of Jailbreaks.

    Attributes:
        templates: names of templates, or "all".
        casings: the N of best-of-n: forms of a prompt in random case.
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
                hint = did_you_mean(template, known)
                raise ConfigError(f"jailbreaks.templates: no template '{template}': {hint}")

    def situations(self, target: Target) -> Situations:
        """Yield each model under each template, then under all templates together."""
        chosen = [*FORMS, *SHOTS, CASING] if "all" in self.templates else self.templates
        by_template: dict[str, list[Forms]] = {}
        for template in chosen:
            forms = [self.forms(template, example, target) for example in target.prompts]
            by_template[template] = forms

        # For each prompt its forms under all templates, one behind the other.
        together: list[Forms] = []
        for of_prompt in zip(*by_template.values(), strict=True):
            together.append(sum(of_prompt, ()))

        for on in self.on:
            with target.model(on):
                for template, prompts in by_template.items():
                    yield _situation(template, on, prompts)
                if len(by_template) > 1:
                    yield _situation(f"any of these {len(by_template)}", on, together)

    def forms(self, template: str, example: Example, target: Target) -> Forms:
        """The forms of one prompt under one template."""
        if template == CASING:
            return tuple([cased(example, number) for number in range(self.casings)])
        if template in SHOTS:
            turns = []
            for shown in target.retain(SHOTS[template]):
                answer = " ".join(shown.answer.split()[:WORDS])
                turns.append(("user", shown.prompt))
                turns.append(("assistant", answer))
            return (after_turns(turns)(example),)
        return (FORMS[template](example),)


def _situation(variant: str, on: On, prompts: list[Forms]) -> Situation:
    return Situation(variant, on, tuple(prompts), cost=Cost(queries=max(map(len, prompts))))

"""Mirror: theta_o + (theta_o - theta_u), the edit applied in the opposite direction.

Threat: anyone who holds the base and the edited model computes it with one subtraction, without
data or training. Where the edit negates what a harmful model learnt, the mirror is that model.
"""

from dataclasses import dataclass
from typing import ClassVar

from skunlearn.attacks.base import Attack, Situation, Situations, Target
from skunlearn.task_vectors.apply import attacked


@dataclass(frozen=True)
class Mirror(Attack):
    """The mirror has no options."""

    name: ClassVar[str] = "mirror"

    def situations(self, target: Target) -> Situations:
        """Yield one situation, in which the weights are 2 theta_o - theta_u."""
        with attacked(target.lm.model, -target.edit):
            yield Situation("2 base - edited", "edited", target.plain, "mirror")

"""Gated refusal: decline where a linear reading of the prompt says harmful, and leave everything
else as it is.

    w = argmin 1/2 mean_harmful (w x - 1)^2 + 1/2 mean_harmless (w x - t)^2 + others mean_other (w
    x)^2 + ridge |w|^2 L = w1 NLL(r | x) + w2 KL(p_theta_o || p_theta)        over v alone, in W + v
    w^T theta_u = theta_o + beta v w^T

x is what goes into the last matrix W of a few layers (the MLP's second one), at the token that
predicts an answer's first one. The reading w comes from the training prompts at once (up to 256
each of forget prompts, retain prompts and look-alikes), in closed form. v, what the layer says when
the gate opens, is trained on the first tokens of refusals (r) and of harmless answers (KL). The
vector is of rank 1 a layer, whatever `lora` says.

Ours. Near to it: the refusal direction (Arditi et al., arXiv:2406.11717), which is added here under
a condition, as in conditional activation steering (arXiv:2409.05907), but linear and inside the
weights; the closed form is that of linear associative memories (ROME, arXiv:2202.05262).
"""

from dataclasses import dataclass
from typing import ClassVar

from skunlearn.methods.base import Detector, Method, check_options
from skunlearn.methods.refusal import Declining


@dataclass(frozen=True)
class GatedRefusal(Declining, Method):
    """Options of GatedRefusal.

    Attributes:
        refusal_weight: w1, above 0.
        keep_weight: w2, half of it on ordinary and half on look-alike answers, 0 or more.
        kept: ordinary rows, and as many look-alikes, for each forget row, 1 or more.
        keep_tokens: answer tokens that the KL reads, 1 or more.
        gate: where the gates are, and how they are fitted.
        refusal_tokens: of a refusal that are learnt, 1 or more: whether to decline is decided in
            the first few, and the model finds the end by itself.
    """

    edit_scale: ClassVar[float] = 1.0

    refusal_weight: float = 1.0
    keep_weight: float = 4.0
    kept: int = 1  # options here, constants elsewhere
    keep_tokens: int = 4
    gate: Detector = Detector()
    refusal_tokens: int = 8

    def __post_init__(self) -> None:
        check_options(self, above_0=("refusal_weight", "kept", "keep_tokens", "refusal_tokens"))

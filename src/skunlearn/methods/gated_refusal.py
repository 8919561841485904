"""Gated refusal: refuse where a linear detector finds a prompt harmful, and change nothing else.

    w = argmin  1/2 mean_harmful (w x - 1)^2 + 1/2 mean_harmless (w x - t)^2
              + others mean_other (w x)^2 + ridge |w|^2
    L = w1 NLL(r | x) + w2 KL(p_theta_o || p_theta)                over v alone, in W + v w^T
    theta_u = theta_o + beta v w^T

In a few layers, x is the input of the last matrix W (the second one of the MLP) at the token
position that predicts the first token of an answer. Training has two stages:

1. The *detector* w is fitted in closed form, on up to 384 forget prompts, 384 retain prompts and
   384 look-alikes of the training data. The options of the detectors are the group `gate` of a run
   file.
2. v, what the layer adds where its detector responds, is trained: on the first tokens of refusals r
   (NLL), and on those of retain answers and look-alikes (KL, half of w2 each).

The vector has rank 1 in each layer, whatever the options under `lora` say.

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes refusals of forget prompts likelier and holds the
predictions on harmless answers near the base model's.

This method is our own. Near to it: the refusal direction (Arditi et al., arXiv:2406.11717), which
is added here under a condition, as in conditional activation steering (arXiv:2409.05907), but by a
linear change of the weights. The closed form is that of linear associative memories (ROME,
arXiv:2202.05262).
"""

from dataclasses import dataclass
from typing import ClassVar

from skunlearn.methods.base import Detector, Method, check_options, check_share
from skunlearn.methods.refusal import Declining


@dataclass(frozen=True)
class GatedRefusal(Declining, Method):
    """Options of GatedRefusal.

    Attributes:
        refusal_weight: w1, above 0.
        keep_weight: w2, half for retain and half for look-alike answers, 0 or more.
        kept: number of retain rows, and of look-alikes, for each forget row, 1 or more.
        keep_tokens: how many tokens of their answers the KL reads, 1 or more.
        gate: where the detectors are, and how they are fitted.
        refusal_tokens: how many tokens of a refusal are learnt, 1 or more. The first few decide
            whether the model refuses, and it completes the sentence by itself.
        begun: share of the forget prompts whose answer has begun: the detectors are fitted, and the
            refusals learnt, behind its first tokens; likewise for ordinary answers; 0..1.
    """

    edit_scale: ClassVar[float] = 1.0

    refusal_weight: float = 1.0
    keep_weight: float = 4.0
    kept: int = 1  # read by `Method.benign_per_forget`
    keep_tokens: int = 4
    gate: Detector = Detector()  # read by `Method.detector`
    refusal_tokens: int = 8
    begun: float = 0.0  # read by `Method.begun_share`

    def __post_init__(self) -> None:
        check_options(self, above_0=("refusal_weight", "kept", "keep_tokens", "refusal_tokens"))
        check_share(begun=self.begun)

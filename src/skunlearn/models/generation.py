"""Answers to many prompts at once, with a key-value cache.

`generate` of transformers computes each prompt in full and decodes every row until the last one has
ended. Here prompts go in batches of like length, what all prompts of a batch begin with (a system
prompt, the chat template's header) is computed once, and a row leaves the batch when it has ended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

import torch
from transformers import DynamicCache

from skunlearn.data.chat_template import Template
from skunlearn.utils.batching import batches_of_like_length
from skunlearn.utils.options import checked

ROWS_AT_ONCE = 128

# A character of several tokens decodes to this until its last token is there.
TORN = "\N{REPLACEMENT CHARACTER}"

# Models that derive a token's position from the number of keys before it, padding included.
COUNTS_KEYS = ("mpt", "gpt_neo")

# Kinds of layers that look back over a limited number of tokens.
WINDOWED = {"sliding_attention", "chunked_attention"}


@dataclass(frozen=True)
@checked
class Sampling:
    """How tokens are sampled, instead of always taking the likeliest.

    Attributes:
        temperature: above 0; 1 is the model's own distribution.
        seed: of the random draws.
    """

    temperature: float
    seed: int


def batches(prompts: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Return the numbers of the prompts in batches of like length and of about the same size.

    They are a function of the prompts alone. So an answer that is generated again after an
    interruption is in the same batch as before, and has the same rounding errors.

    Args:
        prompts: token ids, not padded.
    """
    if not prompts:
        return []
    count = ceil(len(prompts) / ROWS_AT_ONCE)
    size = ceil(len(prompts) / count)
    lengths = [len(ids) for ids in prompts]
    return [list(batch) for batch in batches_of_like_length(lengths, size)]


@torch.no_grad()
def written_answers(
    model: Any,
    template: Template,
    prompts: Sequence[tuple[int, ...]],
    max_new_tokens: int,
    sampling: Sampling | None = None,
) -> list[str]:
    """Generate the answers to one batch of prompts, in their order.

    Args:
        model: a causal model with a key-value cache.
        template: holds the tokenizer and the tokens that end an answer.
        prompts: token ids, not padded.
        max_new_tokens: tokens after which an answer is cut.
        sampling: greedy decoding when None.
    """
    generator = None
    if sampling is not None:
        generator = torch.Generator().manual_seed(sampling.seed)
    ends = torch.tensor(template.end_ids, device=model.device)
    answers: list[list[int]] = [[] for _ in prompts]

    cache, mask_BT, logits_BV = prefill(model, prompts, template.end_id, max_new_tokens)
    # B counts the rows that are still in the batch; `rows` holds the number of each one's prompt.
    rows = torch.arange(len(prompts))
    for count in range(1, max_new_tokens + 1):
        # Choose one token a row, and keep it unless it ends the answer.
        token_B = _next_tokens(logits_BV, sampling, generator)
        running_B = ~torch.isin(token_B, ends)
        running_rows = rows[running_B.cpu()]
        running_tokens = token_B[running_B]
        for row, token in zip(running_rows.tolist(), running_tokens.tolist(), strict=True):
            answers[row].append(token)
        if not running_B.any() or count == max_new_tokens:
            break

        # Rows that have ended leave the batch, with their share of the key-value cache.
        if not running_B.all():
            rows = running_rows
            token_B = running_tokens
            mask_BT = mask_BT[running_B]
            cache.batch_select_indices(running_B.nonzero().squeeze(1))

        # Compute the logits behind the new tokens. Padding has no position of its own, so a token's
        # position is the number of tokens before it.
        mask_BT = torch.cat((mask_BT, mask_BT.new_ones(len(rows), 1)), dim=1)
        position_B1 = mask_BT.sum(dim=1, keepdim=True) - 1
        logits_BV = step(model, token_B.unsqueeze(1), mask_BT, position_B1, cache)
    return [_decoded(template, tokens) for tokens in answers]


def _decoded(template: Template, tokens: list[int]) -> str:
    return str(template.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def _next_tokens(
    logits_BV: torch.Tensor, sampling: Sampling | None, generator: torch.Generator | None
) -> torch.Tensor:
    """Return one token for each row, (B,): the likeliest, or a sampled one.

    Sampling is done on the CPU, so that a seed draws the same tokens on every device.
    """
    if sampling is None:
        return logits_BV.argmax(dim=-1)
    p_BV = (logits_BV.float() / sampling.temperature).softmax(dim=-1).cpu()
    return p_BV.multinomial(1, generator=generator).squeeze(1).to(logits_BV.device)


def prefill(
    model: Any, prompts: Sequence[tuple[int, ...]], filler: int, room: int = 0
) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Compute the prompts of a batch, and what all of them begin with only once.

    The beginning that all prompts share is computed as one row, whose keys and values are then
    repeated for every prompt. What follows is padded on its left, so a row is

        shared beginning | padding | rest of the prompt

    and all rows end at the same column. The attention mask hides the padding, and positions do not
    count it. But a layer with a window of W tokens does count it. Where prompt and answer could get
    longer than the window, nothing is shared, and all padding is at the far left, where it is the
    first to leave the window.

    Args:
        model: a causal model with a key-value cache.
        prompts: token ids, not padded.
        filler: the token to pad with.
        room: how many tokens will be generated at most.

    Returns:
        The key-value cache, the attention mask (B, T), and the logits of the next token (B, V).
    """
    longest = max(map(len, prompts))
    shared = 0
    if len(prompts) > 1 and longest + room <= window(model):
        shared = _shared(prompts)

    width = longest - shared
    input_ids = []
    mask = []
    for ids in prompts:
        rest = list(ids[shared:])
        padding = width - len(rest)
        input_ids.append([filler] * padding + rest)
        mask.append([1] * shared + [0] * padding + [1] * len(rest))
    input_ids_BT = torch.tensor(input_ids, device=model.device)
    mask_BT = torch.tensor(mask, device=model.device)
    position_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)

    cache = DynamicCache(config=model.config)
    if shared:
        beginning_1T = torch.tensor([prompts[0][:shared]], device=model.device)
        mask_1T = torch.ones_like(beginning_1T)
        position_1T = torch.arange(shared, device=model.device).unsqueeze(0)
        step(model, beginning_1T, mask_1T, position_1T, cache)
        cache.batch_repeat_interleave(len(prompts))
    logits_BV = step(model, input_ids_BT, mask_BT, position_BT[:, shared:], cache)
    return cache, mask_BT, logits_BV


def window(model: Any) -> float:
    """Return how many tokens back a layer with a sliding or chunked window looks.

    Returns:
        Infinity where every layer sees all tokens. 0 for models that count padding as positions:
        padding inside a row would shift its tokens.
    """
    config = model.config.get_text_config()
    if config.model_type in COUNTS_KEYS:
        return 0.0
    # Older configs have a window but do not list the kinds of their layers.
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"]
    if WINDOWED.isdisjoint(kinds) or not getattr(config, "use_sliding_window", True):
        return inf
    smallest = inf
    for name in ("sliding_window", "attention_chunk_size"):
        smallest = min(smallest, getattr(config, name, None) or inf)
    return smallest


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all prompts begin with; each keeps at least one of its own."""
    most = min(map(len, prompts)) - 1
    for count in range(most):
        if len({ids[count] for ids in prompts}) > 1:
            return count
    return most


def step(model: Any, input_ids_BT: Any, mask_BT: Any, position_BT: Any, cache: Any) -> torch.Tensor:
    """Compute new tokens behind those in the key-value cache, which grows by them.

    Args:
        model: a causal model with a key-value cache.
        input_ids_BT: the new tokens.
        mask_BT: of the tokens in the cache and the new ones; 0 for padding.
        position_BT: of the new tokens.
        cache: the key-value cache.

    Returns:
        The logits at the last new token, (B, V).
    """
    output = model(
        input_ids=input_ids_BT,
        attention_mask=mask_BT,
        past_key_values=cache,
        use_cache=True,
        position_ids=position_BT,
        logits_to_keep=1,
    )
    return output.logits[:, -1]


@torch.no_grad()
def streamed_answer(
    model: Any, template: Template, prompt_ids: tuple[int, ...], most: int
) -> Iterator[str]:
    """Yield the answer so far after each greedy token.

    The last text is what `written_answers` returns for the prompt alone. The generator keeps
    nothing in the model between two tokens: the caller must see to it that the model has the same
    weights whenever it takes the next one.

    Args:
        model: a causal model with a key-value cache.
        template: holds the tokenizer and the tokens that end an answer.
        prompt_ids: not padded.
        most: tokens after which the answer is cut.
    """
    cache, mask_1T, logits_1V = prefill(model, [prompt_ids], template.end_id)
    tokens: list[int] = []
    shown = ""
    text = ""
    while len(tokens) < most:
        token = int(logits_1V.argmax())
        if token in template.end_ids:
            break
        tokens.append(token)
        text = _decoded(template, tokens)
        # A character that is not complete yet is held back.
        if not text.endswith(TORN):
            shown = text
        yield shown
        if len(tokens) < most:
            mask_1T = torch.cat((mask_1T, mask_1T.new_ones(1, 1)), dim=1)
            position_11 = mask_1T.sum(dim=1, keepdim=True) - 1
            token_11 = torch.tensor([[token]], device=model.device)
            logits_1V = step(model, token_11, mask_1T, position_11, cache)
    # The last character stays incomplete when the answer was cut inside it.
    if shown != text:
        yield text

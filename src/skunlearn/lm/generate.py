"""Greedy answers to many prompts: sorted by length, in batches."""

from collections.abc import Sequence
from typing import Any

import torch

from skunlearn.data.template import Template

ROWS_AT_ONCE = 48


def batches(prompts: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Numbers of the prompts in batches of like length; a function of the prompts alone, so that an answer that is
    generated again after a kill is generated in the same company, to the same last bit."""
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    return [order[at : at + ROWS_AT_ONCE] for at in range(0, len(order), ROWS_AT_ONCE)]


@torch.no_grad()
def greedy_answers(
    model: Any, template: Template, prompts: Sequence[tuple[int, ...]], max_new_tokens: int
) -> list[str]:
    """The answers to one batch of prompts, in order.

    Args:
        model: a causal model.
        template: knows the tokens that end an answer.
        prompts: token ids, not padded.
        max_new_tokens: where an answer is cut at the latest.
    """
    filler = template.end_id  # hidden by the mask on the left; on the right it marks rows that have ended
    width = max(map(len, prompts))
    input_ids_BT = torch.tensor([[filler] * (width - len(ids)) + list(ids) for ids in prompts])
    attention_mask_BT = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    output_BT = model.generate(
        input_ids=input_ids_BT.to(model.device),
        attention_mask=attention_mask_BT.to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        repetition_penalty=1.0,
        eos_token_id=template.end_ids,
        pad_token_id=filler,
    )
    return [_text(template, row) for row in output_BT[:, width:].tolist()]


def _text(template: Template, row: list[int]) -> str:
    ends = [row.index(end) for end in template.end_ids if end in row]
    kept = row[: min(ends)] if ends else row
    return str(template.tokenizer.decode(kept, skip_special_tokens=True)).strip()

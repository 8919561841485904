"""One answer, token by token, for somebody who is looking on."""

from collections.abc import Iterator
from typing import Any

import torch

from skunlearn.data.template import Template
from skunlearn.lm.generate import prefill, step

TORN = "\N{REPLACEMENT CHARACTER}"


@torch.no_grad()
def streamed_answer(model: Any, template: Template, prompt_ids: tuple[int, ...], most: int) -> Iterator[str]:
    """The answer so far, after each greedy token; the last is what `written_answers` gives for the prompt alone.

    Nothing of the model is held between two tokens: whoever draws them must have the same weights in place each time.

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
            logits_1V = step(model, torch.tensor([[token]], device=model.device), mask_1T, position_11, cache)
    if text != whole:
        yield whole

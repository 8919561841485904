"""Our loop gives what `generate` gives."""

import pytest
import torch
import toy

from skunlearn.data.examples import Example
from skunlearn.lm.generate import batches, greedy_answers


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_the_same_answers_as_generate_one_by_one(family: str):
    lm = toy.lm(family)
    examples = [Example(text) for text in ("a", "hello there", "what is this thing", "b?")]
    prompts = [lm.template.prompt_ids(example) for example in examples]
    for prompt, answer in zip(prompts, greedy_answers(lm.model, lm.template, prompts, 12), strict=True):
        output = lm.model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=lm.template.end_ids, pad_token_id=0
        )
        assert answer == lm.tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True).strip()


def test_rows_that_end_leave_the_batch(monkeypatch: pytest.MonkeyPatch):
    lm = toy.lm("GPT2")
    prompts = [lm.template.prompt_ids(Example(text)) for text in ("a", "bb", "ccc", "dddd")]
    widths: list[int] = []
    forward = lm.model.forward
    monkeypatch.setattr(
        lm.model, "forward", lambda **inputs: widths.append(len(inputs["input_ids"])) or forward(**inputs)
    )
    lm.template.end_ids = list(range(131))  # half of the vocabulary ends an answer
    answers = greedy_answers(lm.model, lm.template, prompts, 30)
    assert widths[1] == 4 and widths[-1] < 4 and widths[1:] == sorted(widths[1:], reverse=True)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer == greedy_answers(lm.model, lm.template, [prompt], 30)[0]


def test_batches_are_even_and_of_like_length():
    found = batches([(0,) * (n % 50) for n in range(130)])
    assert sorted(number for batch in found for number in batch) == list(range(130))
    assert [len(batch) for batch in found] == [44, 44, 42]
    assert batches([]) == []

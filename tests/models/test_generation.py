"""Our loop gives what `generate` gives."""

import pytest
import torch
import toy
import transformers

from skunlearn.data.examples import Example
from skunlearn.models.generation import Sampling, batches, prefill, window, written_answers
from skunlearn.models.lm import LM


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_the_same_answers_as_generate_one_by_one(family: str):
    lm = toy.lm(family)
    examples = [Example(text) for text in ("a", "hello there", "what is this thing", "b?")]
    prompts = [lm.template.prompt_ids(example) for example in examples]
    for prompt, answer in zip(
        prompts, written_answers(lm.model, lm.template, prompts, 12), strict=True
    ):
        output = lm.model.generate(
            torch.tensor([prompt]),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=lm.template.end_ids,
            pad_token_id=0,
        )
        assert (
            answer
            == lm.tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True).strip()
        )


def test_rows_that_end_leave_the_batch(monkeypatch: pytest.MonkeyPatch):
    lm = toy.lm("GPT2")
    prompts = [lm.template.prompt_ids(Example(text)) for text in ("a", "bb", "ccc", "dddd")]
    widths: list[int] = []
    forward = lm.model.forward
    monkeypatch.setattr(
        lm.model,
        "forward",
        lambda **inputs: widths.append(len(inputs["input_ids"])) or forward(**inputs),
    )
    lm.template.end_ids = list(range(131))  # half of the vocabulary ends an answer
    answers = written_answers(lm.model, lm.template, prompts, 30)
    assert widths[1] == 4 and widths[-1] < 4 and widths[1:] == sorted(widths[1:], reverse=True)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer == written_answers(lm.model, lm.template, [prompt], 30)[0]


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("MptForCausalLM", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 128}),
        (
            "GPTNeoForCausalLM",
            {
                "hidden_size": 32,
                "num_layers": 2,
                "num_heads": 4,
                "window_size": 8,
                "attention_types": [[["global", "local"], 1]],
            },
        ),
    ],
)
def test_models_that_count_keys_answer_in_company_as_alone(kind: str, size: dict):
    torch.manual_seed(0)
    config = getattr(transformers, kind.replace("ForCausalLM", "Config"))(vocab_size=262, **size)
    lm = LM(getattr(transformers, kind)(config), toy.tokenizer())
    prompts = [
        lm.template.prompt_ids(Example(text))
        for text in ("a", "hello there", "what is this thing, and why?")
    ]
    with torch.no_grad():
        together_BV = prefill(lm.model, prompts, 0)[2]
        alone_BV = torch.cat([prefill(lm.model, [prompt], 0)[2] for prompt in prompts])
        plain_BV = torch.cat([lm.model(torch.tensor([prompt])).logits[:, -1] for prompt in prompts])
    torch.testing.assert_close(alone_BV, plain_BV, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together_BV, plain_BV, atol=1e-5, rtol=1e-4)


def test_batches_are_even_and_of_like_length():
    found = batches([(0,) * (n % 50) for n in range(260)])
    assert sorted(number for batch in found for number in batch) == list(range(260))
    assert [len(batch) for batch in found] == [87, 87, 86]
    assert batches([]) == []


def test_samples_follow_the_models_distribution_and_the_seed():
    lm = toy.lm()
    prompts = [lm.template.prompt_ids(Example("a"))] * 400
    once = written_answers(lm.model, lm.template, prompts, 1, Sampling(1.0, seed=3))
    assert once == written_answers(lm.model, lm.template, prompts, 1, Sampling(1.0, seed=3))
    assert once != written_answers(lm.model, lm.template, prompts, 1, Sampling(1.0, seed=4))
    p_V = lm.model(torch.tensor([prompts[0]])).logits[0, -1].softmax(-1)
    best = written_answers(lm.model, lm.template, prompts[:1], 1)[0]
    share = sum(answer == best for answer in once) / len(once)
    assert share == pytest.approx(p_V.max().item(), abs=0.08)
    cold = written_answers(lm.model, lm.template, prompts[:20], 1, Sampling(1e-4, seed=0))
    assert set(cold) == {best}


@pytest.mark.parametrize("family", ["Mistral", "Gemma2"])
def test_a_window_that_slides_sees_no_padding(family: str, monkeypatch: pytest.MonkeyPatch):
    """Short prompts beside one that is longer than the window are answered as if they were
    alone."""
    monkeypatch.setitem(toy.FAMILIES, family, toy.FAMILIES[family] | {"sliding_window": 48})
    lm = toy.lm(family)
    prompts = [
        lm.template.prompt_ids(Example(text)) for text in ("a", "hello there", "what is this " * 12)
    ]
    assert window(lm.model) == 48 < max(map(len, prompts)) and len(prompts[0]) + 12 < 48
    alone = [written_answers(lm.model, lm.template, [prompt], 12)[0] for prompt in prompts]
    assert written_answers(lm.model, lm.template, prompts, 12) == alone
    assert window(toy.lm("Llama").model) == float("inf")

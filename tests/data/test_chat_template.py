"""Prompts in the model's own form, and exactly the answer scored."""

import pytest
import toy
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from skunlearn.data.chat_template import Template
from skunlearn.data.examples import Example
from skunlearn.models.lm import LM
from skunlearn.utils.errors import DataError, ModelError

HELLO = Example("Say hi", "hello", where="f:1")


def test_a_chat_model_gets_its_own_template_and_end_of_turn():
    template = Template(toy.tokenizer())
    assert template.render(HELLO) == "<|user|>\nSay hi<|end|>\n<|assistant|>\n"
    row = template.encode(HELLO, 100)
    decode = template.tokenizer.decode
    assert decode(row.prompt_ids) == template.render(HELLO)
    assert decode(row.answer_ids) == "hello<|end|>"
    assert template.end_ids == sorted({template.end_id, template.tokenizer.eos_token_id})


def test_system_prompts_and_earlier_turns_are_rendered():
    template = Template(toy.tokenizer())
    example = Example("b", "c", history=(("system", "s"), ("user", "u"), ("assistant", "a")))
    assert template.render(example).count("<|end|>") == 4


def test_a_base_model_gets_a_plain_template_without_a_space_at_the_border():
    template = Template(toy.tokenizer(chat=False))
    row = template.encode(HELLO, 100)
    decode = template.tokenizer.decode
    assert decode(row.prompt_ids) == "Question: Say hi\nAnswer:"
    assert decode(row.answer_ids) == " hello<eos>"


@pytest.mark.parametrize("chat", [True, False])
def test_scored_tokens_are_the_answer_whatever_the_padding_id(chat: bool):
    """Traps 1 to 4 of the published code: lengths on padded ids, a literal pad id, a lost first
    token."""
    from skunlearn.data.batches import collate

    tokenizer = toy.tokenizer(chat)
    tokenizer.pad_token = (
        tokenizer.eos_token
    )  # padding and end of answer are one id, as in many models
    template = Template(tokenizer)
    rows = [template.encode(Example(f"p{'x' * n}", f"a{'y' * (7 - n)}"), 100) for n in range(7)]
    batch = collate(rows)
    for number, row in enumerate(rows):
        mine = batch.row_N == number
        assert batch.labels_N[mine].tolist() == list(row.answer_ids)
        places = batch.place_N[mine]
        assert batch.input_ids_BT.flatten()[places + 1].tolist() == list(row.answer_ids)
        assert places[0] == number * batch.input_ids_BT.shape[1] + len(row.prompt_ids) - 1
        assert batch.attention_mask[number].sum() == len(row)


def test_a_cut_answer_is_counted_and_a_lost_one_is_an_error():
    template = Template(toy.tokenizer())
    prompt = len(template.prompt_ids(HELLO))
    row = template.encode(HELLO, prompt + 2)
    assert (len(row.answer_ids), row.cut) == (2, 4)
    with pytest.raises(DataError, match=r"f:1: the prompt takes \d+ tokens, so data.max_length=10"):
        template.encode(HELLO, 10)


def test_templates_that_refuse_are_a_clear_error():
    tokenizer = toy.tokenizer()
    tokenizer.chat_template = (
        "{% if messages|length > 2 %}{{ raise_exception('one question alone') }}{% endif %}"
        + toy.CHAT
    )
    earlier = (("user", "u"), ("assistant", "a"))
    with pytest.raises(DataError, match=r"f:1: the model's chat template refuses.*one question"):
        Template(tokenizer).render(Example("x", "y", history=earlier, where="f:1"))
    tokenizer = toy.tokenizer(chat=False)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence"):
        Template(tokenizer)
    tokenizer = toy.tokenizer()
    tokenizer.chat_template = "{{ raise_exception('a system turn is missing') }}"
    with pytest.raises(
        ModelError, match="the chat template refuses a question with its answer: a system turn"
    ):
        Template(tokenizer)


def test_a_model_that_can_think_first_is_asked_not_to():
    tokenizer = toy.tokenizer()
    asked = "add_generation_prompt and enable_thinking is defined and not enable_thinking"
    thought = f"{{% if {asked} %}}<think></think>{{% endif %}}"
    tokenizer.chat_template = toy.CHAT + thought
    assert Template(tokenizer).render(Example("x")).endswith("<|assistant|>\n<think></think>")


@pytest.mark.parametrize("chat", [True, False])
def test_the_first_token_of_an_answer_is_the_one_that_it_has_behind_a_prompt(chat: bool):
    """As with sentencepiece, which puts a space in front of any text: behind a prompt there is
    none."""
    letters = [chr(number) for number in range(33, 127)]
    words = ["▁Sure", "Sure", "▁", "\n", "<eos>", *letters]
    core = Tokenizer(
        models.BPE(
            vocab={
                word: number
                for number, word in enumerate(
                    dict.fromkeys([*words, "Su", "Sur", "▁S", "▁Su", "▁Sur"])
                )
            },
            merges=[("S", "u"), ("Su", "r"), ("Sur", "e"), ("▁", "Sure")],
        )
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.content }}]\n{% endfor %}" if chat else None
    )
    template = Template(tokenizer)
    alone = tokenizer.convert_ids_to_tokens(
        tokenizer("Sure", add_special_tokens=False)["input_ids"]
    )
    row = template.encode(Example("b", "Sure"), 100)
    assert alone == ["▁Sure"]
    assert tokenizer.convert_ids_to_tokens(list(row.answer_ids)) == (
        ["Sure"] if chat else ["▁Sure"]
    ) + ["<eos>"]
    text = template.render(Example("b")) + ("Sure" if chat else " Sure")
    assert [*row.prompt_ids, *row.answer_ids[:-1]] == tokenizer(text, add_special_tokens=not chat)[
        "input_ids"
    ]


def test_a_models_own_ends_end_its_answers():
    model = toy.model()
    model.generation_config.eos_token_id = [1, 77]
    lm = LM(model, toy.tokenizer())
    assert {1, 77, lm.template.end_id} == set(lm.template.end_ids)
    model.generation_config.eos_token_id = None
    assert 77 not in LM(model, toy.tokenizer()).template.end_ids

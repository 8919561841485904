"""Prompt and answer together are what the chat template writes for the whole conversation."""

from datetime import datetime
from typing import Any

import pytest
import toy

from skunlearn.data.chat_rendering import folded
from skunlearn.data.chat_template import Template
from skunlearn.data.examples import Example
from skunlearn.utils.errors import DataError, ModelError

TURNS = "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
PARTS = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{% for p in m['content'] %}"
    "{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set before = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% else %}{% set rest = messages %}{% set before = '' %}{% endif %}"
    "{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (before if loop.first else '') "
    "+ m['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '?' %}"
    "{% endif %}{% endif %}<|system|>\nToday Date: {{ date_string }}\n"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
    "{% set messages = messages[1:] %}{% endif %}<|end|>\n"
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# The system prompt stands in the last turn, if that is the user's.
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{% if loop.last and system is defined %}"
    "[INST] {{ system + '\n\n' + m['content'] }}[/INST]{% else %}[INST] {{ m['content'] }}[/INST]"
    "{% endif %}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start>{{ role + '\n' + m['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<start>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + '\n' + m['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% else %}{{ eos_token }}{% endif %}"
)
QWEN_3 = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and loop.last %}"
    "<|assistant|>\n<think>\n\n</think>\n\n{{ m['content'] }}<|end|>\n"
    "{% else %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
THINKING_ALWAYS = QWEN_3.replace(
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}",
    "<think>\n",
)
HARMONY = (
    "{% for m in messages %}<|{{ m['role'] }}|>"
    "{% if m['role'] == 'assistant' %}<channel>final{% endif %}<message>{{ m['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DROPS_THE_SYSTEM = TURNS.replace(
    "{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}"
)
LOWERS = toy.CHAT.replace("m['content']", "m['content'] | lower | trim")
PARTS_OF_THE_USER = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{% if m['role'] == 'user' %}"
    "{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% else %}{{ m['content'] + '' }}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
FAMILIES = {
    "chatml": toy.CHAT,
    "llama-2": LLAMA_2,
    "llama-3": LLAMA_3,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "phi": PHI,
    "qwen-3": QWEN_3,
    "thinking-always": THINKING_ALWAYS,
    "harmony": HARMONY,
    "no-generation-prompt": TURNS,
    "drops-the-system": DROPS_THE_SYSTEM,
    "parts": PARTS,
    "parts-of-the-user": PARTS_OF_THE_USER,
    "lowers": LOWERS,
}
IN_PARTS = {"parts": ("system", "user", "assistant"), "parts-of-the-user": ("user",)}
NO_SYSTEM = ("mistral", "gemma", "drops-the-system")
EARLIER = (("user", "first question"), ("assistant", "first reply"))
SYSTEM = (("system", "be short"),)


def of(template: str) -> Any:
    tokenizer = toy.tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def written(tokenizer: Any, turns: list[tuple[str, str]], parts: tuple[str, ...] = ()) -> str:
    """The whole conversation, by transformers itself."""
    messages = []
    for role, text in turns:
        content = [{"type": "text", "text": text}] if role in parts else text
        messages.append({"role": role, "content": content})
    return tokenizer.apply_chat_template(messages, tokenize=False, date_string="26 Jul 2024")


@pytest.mark.parametrize("history", [(), SYSTEM, EARLIER, SYSTEM + EARLIER])
@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_and_answer_are_the_whole_conversation(family: str, history: tuple):
    tokenizer = of(FAMILIES[family])
    template = Template(tokenizer)
    example = Example("How is Ada?", "Ada is well.", history=history)
    row = template.encode(example, 1000)
    turns = [*history, ("user", example.prompt)]
    if family in NO_SYSTEM:
        turns = folded(turns)
    whole = written(tokenizer, [*turns, ("assistant", example.answer)], IN_PARTS.get(family, ()))
    both = tokenizer.decode(row.prompt_ids + row.answer_ids[:-1])
    assert whole.startswith(both) and "<think>\n<" not in both
    assert both.casefold().rstrip().endswith("ada is well.")
    assert "how is ada?" in tokenizer.decode(row.prompt_ids).casefold()
    for _, text in history:
        assert text in both
    assert template.note == ""


@pytest.mark.parametrize("family", ["chatml", "gemma", "phi", "llama-3", "qwen-3"])
def test_usual_templates_are_rendered_with_their_generation_prompt(family: str):
    tokenizer = of(FAMILIES[family])
    plain = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say hi"}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
        date_string="26 Jul 2024",
    )
    assert Template(tokenizer).render(Example("Say hi")) == plain


def test_a_space_between_prompt_and_answer_belongs_to_the_answer():
    template = Template(of(LLAMA_2))
    assert template.render(Example("Say hi")) == "[INST] Say hi [/INST]"
    assert template.render(Example("Say hi", prefix="Sure,")) == "[INST] Say hi [/INST] Sure,"
    assert template.tokenizer.decode(template.answer_ids("hello")) == " hello<eos>"


@pytest.mark.parametrize(
    ("opening", "closed"),
    [
        ("<think>\n", "<think>\n\n</think>\n\n"),
        ("<think>", "<think>\n\n</think>\n\n"),
        ("\n<thinking>\n\n", "\n<thinking>\n\n\n</thinking>\n\n"),
        ("[THINK]", "[THINK]\n\n[/THINK]\n\n"),
        ("<seed:think>\n", "<seed:think>\n\n</seed:think>\n\n"),
    ],
)
def test_a_thought_that_is_opened_is_closed_and_told(opening: str, closed: str):
    template = Template(
        of(
            toy.CHAT.replace("{% endif %}", "{{ opening }}{% endif %}").replace(
                "{{ opening }}", "{{ " + repr(opening) + " }}"
            )
        )
    )
    prompt = template.render(Example("Say hi"))
    assert prompt == "<|user|>\nSay hi<|end|>\n<|assistant|>\n" + closed
    assert "the chat template opens a thought" in template.note


def test_a_thought_in_an_unknown_form_is_refused():
    with pytest.raises(ModelError, match="a thought that cannot be closed"):
        Template(of(toy.CHAT.replace("{% endif %}", "<|begin_of_thought|>{% endif %}")))


def test_a_thought_that_is_also_opened_in_the_whole_conversation_is_closed():
    opens = "<|{{ m['role'] }}|>\n{% if m['role'] == 'assistant' %}<think>\n{% endif %}"
    source = toy.CHAT.replace("<|{{ m['role'] }}|>\n", opens)
    source = source.replace("<|assistant|>\n{% endif %}", "<|assistant|>\n<think>\n{% endif %}")
    template = Template(of(source))
    assert template.render(Example("hi")).endswith("<think>\n\n</think>\n\n") and template.note


def test_the_date_is_the_same_on_every_day(monkeypatch: pytest.MonkeyPatch):
    from transformers.utils import chat_template_utils

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2031, 3, 20)

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    with pytest.raises(ModelError, match="today's date in a way that cannot be fixed"):
        Template(of("{% set form = '%Y' %}{{ strftime_now(form) }}" + toy.CHAT))
    for source in (LLAMA_3, "{{ strftime_now('%Y-%m-%d %H:%M') }} " + toy.CHAT):
        tokenizer = of(source)
        prompt = Template(tokenizer).render(Example("Say hi"))
        assert "2031" not in prompt and ("26 Jul 2024" in prompt or "2024-07-26 00:00" in prompt)
        # transformers itself still writes today's date.
        message = {"role": "user", "content": "x"}
        assert "2031" in tokenizer.apply_chat_template([message], tokenize=False)


def test_system_prompts_stand_in_the_users_turn_where_there_is_no_such_role():
    history = (("system", "be short"), ("user", "a"), ("assistant", "b"))
    prompt = Template(of(GEMMA)).render(Example("c", history=history))
    assert prompt.startswith("<start>user\nbe short\n\na<|end|>\n<start>model\nb")
    # Two of them, and one in the middle.
    turns = [("system", "s"), ("system", "t"), ("user", "u"), ("system", "v"), ("user", "w")]
    assert folded(turns) == [("user", "s\n\nt\n\nu"), ("user", "v\n\nw")]


def test_answers_are_scored_as_the_template_writes_them():
    assert (
        Template(of(LOWERS)).tokenizer.decode(Template(of(LOWERS)).answer_ids(" Ada IS well. "))
        == "ada is well.<|end|>"
    )
    untouched = Template(of(toy.CHAT))
    assert untouched.tokenizer.decode(untouched.answer_ids(" Ada ")) == " Ada <|end|>"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for m in messages %}<|{{ m['role'] }}|>{% endfor %}", "leaves the answer out"),
        (
            "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }}{% endif %}"
            "{% endfor %}",
            "leaves out what the user says",
        ),
        ("{{ messages[0]['content'] }}", "leaves the answer out"),
        ("{{ messages[9]['content'].strip() }}", "refuses a question with its answer"),
    ],
)
def test_what_cannot_be_mended_is_one_line(source: str, problem: str):
    with pytest.raises(ModelError, match=problem) as error:
        Template(of(source))
    assert "\n" not in str(error.value)


def test_prompts_of_which_nothing_is_written_are_refused():
    source = toy.CHAT.replace("{{ m['content'] }}", "{{ m['content'].replace('[x]', '') }}")
    template = Template(of(source))
    with pytest.raises(DataError, match=r"f:3: .*nothing of the prompt"):
        template.render(Example("[x]", where="f:3"))
    assert "hi" in template.render(Example("hi [x]"))


def test_an_earlier_exchange_that_the_template_leaves_out_is_told():
    source = (
        "{% set answered = messages[-1]['role'] == 'assistant' %}"
        "<|user|>{{ messages[-2 if answered else -1]['content'] }}<|assistant|>"
        "{% if answered %}{{ messages[-1]['content'] }}{% endif %}"
    )
    template = Template(of(source))
    assert template.render(Example("hi")) == "<|user|>hi<|assistant|>"
    with pytest.raises(DataError, match=r"f:4: .*leaves out what the user says"):
        template.render(Example("hi", history=EARLIER, where="f:4"))

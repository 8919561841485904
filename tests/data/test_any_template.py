"""Property: prompt and answer are what a template writes for both together, or an error."""

import toy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skunlearn.data.chat_template import Template
from skunlearn.data.examples import Example
from skunlearn.utils.errors import SkunlearnError

TOKENIZER = toy.tokenizer()
CONTENTS = ("m['content']", "m['content'] | trim", "m['content'][0]['text']", "'x'", "")
BEFORE = ("<|{{ m['role'] }}|>\n", "[{{ m['role'] }}] ", "{{ m['role'] | upper }}: ", "")
BEHIND = ("<|end|>\n", "<eos>", "\n\n", "")
GENERATION = (
    "<|assistant|>\n",
    "[assistant] ",
    "ASSISTANT: ",
    "<|assistant|>\n<think>\n",
    "<|assistant|>\n<think>\n\n</think>\n\n",
    "<|other|>",
    "",
)
SYSTEM = (
    "",
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}",
    "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}",
)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    content=st.sampled_from(CONTENTS),
    before=st.sampled_from(BEFORE),
    behind=st.sampled_from(BEHIND),
    generation=st.sampled_from(GENERATION),
    system=st.sampled_from(SYSTEM),
    prompt=TEXTS,
    history=st.sampled_from([(), (("system", "be kind"),), (("user", "a"), ("assistant", "b"))]),
)
def test_a_prompt_is_what_stands_before_the_answer_in_the_whole_conversation(
    content: str,
    before: str,
    behind: str,
    generation: str,
    system: str,
    prompt: str,
    history: tuple[tuple[str, str], ...],
):
    assume(prompt.strip())
    turn = before + ("{{ " + content + " }}" if content else "") + behind
    TOKENIZER.chat_template = (
        system
        + "{% for m in messages %}"
        + turn
        + "{% endfor %}{% if add_generation_prompt %}"
        + generation
        + "{% endif %}"
    )
    try:
        template = Template(TOKENIZER)
        rendered = template.render(Example(prompt.strip(), history=history))
    except SkunlearnError as error:
        assert "\n" not in str(error)
        return
    assert content not in ("'x'", ""), "a template that leaves the words out is refused"
    # Every word of the user, and of what was said before, stands in the prompt once.
    assert prompt.strip() in rendered
    assert all(text in rendered for _, text in history)
    # Behind the prompt comes the answer, and what the template itself writes around it.
    parts = "[0]" in content
    turns = [*history, ("user", prompt.strip()), ("assistant", "An answer.")]
    if history and history[0][0] == "system" and system:
        turns = [("user", f"be kind\n\n{prompt.strip()}"), turns[-1]]
    messages = []
    for role, text in turns:
        messages.append({"role": role, "content": [{"text": text}] if parts else text})
    whole = TOKENIZER.apply_chat_template(messages, tokenize=False)
    start = whole[: whole.rindex("An answer.")]
    thought = rendered.removeprefix(start.rstrip(" "))
    assert rendered.startswith(start.rstrip(" "))
    assert not thought.strip() or thought.strip().endswith("</think>")

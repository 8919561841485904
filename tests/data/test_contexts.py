"""Contexts: what they make of an example, and that training and evaluation share none."""

import pytest
import toy

from skunlearn.attacks.jailbreak_templates import FORMS
from skunlearn.data.contexts import Context, in_contexts, training_contexts, wordings
from skunlearn.data.examples import Example

EXAMPLE = Example("How do I paint a fence?", "With a brush.", category="home")


def test_the_prompt_is_put_into_the_template_and_stays_the_intent():
    context = Context("x", "Please: {prompt} Now!", (("system", "Be kind."),))
    found = context.around(EXAMPLE)
    assert found.prompt == "Please: How do I paint a fence? Now!"
    assert found.history == (("system", "Be kind."),)
    assert (found.intent, found.answer, found.category) == (
        EXAMPLE.prompt,
        EXAMPLE.answer,
        "home",
    )


@pytest.mark.parametrize(
    ("change", "prompt"),
    [("upper", "HOW DO I PAINT A FENCE?"), ("typos", "How do I panit a fecne?")],
)
def test_capitals_and_typing_errors(change: str, prompt: str):
    assert Context("x", change=change).around(EXAMPLE).prompt == prompt


def test_braces_in_a_prompt_are_text():
    assert Context("x", "{prompt} {1}").around(Example("{prompt}{0}")).prompt == "{prompt}{0} {1}"


def test_training_and_evaluation_share_no_context():
    forms = [training_contexts(), wordings()]
    assert min(map(len, forms)) > 10
    names = [context.name for part in forms for context in part]
    assert len(set(names)) == len(names)
    shown = {(c.template, c.history, c.change) for c in training_contexts()}
    assert not shown & {(c.template, c.history, c.change) for c in wordings()}
    # No jailbreak of the attacks is a context of the training.
    attacked = {form(EXAMPLE).prompt for form in FORMS.values()}
    assert not attacked & {context.around(EXAMPLE).prompt for context in training_contexts()}


def test_every_context_holds_the_prompt_once_and_renders():
    template = toy.lm().template
    for context in (*training_contexts(), *wordings()):
        assert context.template.count("{prompt}") == 1, context.name
        text = template.render(context.around(Example("zebra")))
        assert text.lower().count("zebra"[:2]) >= 1, context.name


@pytest.mark.parametrize(("share", "inside"), [(0.0, 0), (1.0, 200)])
def test_a_share_of_the_examples_stands_in_a_context(share: float, inside: int):
    examples = tuple(Example(f"question {number}") for number in range(200))
    found = in_contexts(examples, share, "seed")
    assert sum(row.intent != "" for row in found) == inside
    half = in_contexts(examples, 0.5, "seed")
    assert 70 < sum(row.intent != "" for row in half) < 130
    assert half == in_contexts(examples, 0.5, "seed") != in_contexts(examples, 0.5, "other")

"""What all attacks share: costs, the control's answers, and that nothing of an attack can be
kept."""

import re
from pathlib import Path

import pytest
import torch

from skunlearn import attacks
from skunlearn.attacks import ATTACKS, SUITES, base
from skunlearn.attacks.base import Cost, Target, disguised, random_words
from skunlearn.data.examples import Example
from skunlearn.task_vectors.apply import attacked, rewritten
from skunlearn.utils.errors import ModelError
from skunlearn.utils.registry import resolve


def test_a_cost_in_words():
    assert str(Cost(50, 20, 1, 43.4)) == "50 examples, 20 steps, 43 s"
    assert str(Cost(queries=8)) == "8 queries a prompt"
    assert str(Cost()) == "nothing"


def test_a_wrapped_prompt_keeps_what_is_wanted():
    once = disguised(Example("ask"), prompt="please ask")
    assert (once.prompt, once.intent) == ("please ask", "ask")
    assert disguised(once, prefix="Sure").intent == "ask"


def test_the_control_has_the_words_of_nobody_and_their_number():
    examples = [Example("a", "one two three"), Example("b", "four five")]
    control = random_words(examples, 0)
    assert [len(example.answer.split()) for example in control] == [3, 2]
    assert [example.answer for example in control] != [example.answer for example in examples]
    assert control == random_words(examples, 0) != random_words(examples, 1)


def test_suites_name_attacks_that_exist_under_their_own_names():
    for name in ATTACKS:
        assert resolve(name, ATTACKS, "attack").name == name
    assert set(SUITES["default"]) <= set(SUITES["full"]) == set(ATTACKS)


def test_what_an_attack_of_ones_own_imports_is_there():
    for name in ("Attack", "Situation", "Situations", "Target", "disguised"):
        assert getattr(attacks, name) is getattr(base, name)


def test_each_attack_is_described():
    headings = re.findall(
        r"^## (.*)$", (Path(__file__).parents[2] / "docs/attacks.md").read_text(), flags=re.M
    )
    assert {name for heading in headings for name in heading.split(", ")} == set(ATTACKS)


def test_towards_the_bad_model_only_attacks_go_and_nothing_there_can_be_applied_or_saved(
    target: Target, tmp_path: Path
):
    lm, bad = target.lm, -target.edit
    for way in (lm.edited, lm.apply):
        with pytest.raises(ModelError, match="towards the harmful one"), way(bad):
            pass
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    name = next(iter(bad.deltas))
    blocks = (
        lambda: attacked(lm.model, bad),
        lambda: rewritten(lm.model, [name], lambda _, weight: weight * 2),
        lambda: lm.edited(target.edit),
    )
    for block in blocks:
        with block():
            with pytest.raises(ModelError, match="refused until the block ends"):
                lm.save(tmp_path / "bad")
            with pytest.raises(ModelError, match="refused until the block ends"):
                lm.apply(target.edit)
    assert not list(tmp_path.glob("bad*"))
    assert all(torch.equal(before[name], p) for name, p in lm.model.named_parameters())
    lm.save(tmp_path / "good")
    assert (tmp_path / "good/config.json").exists()

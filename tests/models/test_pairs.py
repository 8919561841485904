"""Pairs of models that differ in their vocabulary's rows, in tokens at its end, or in tying."""

import pytest
import torch
import toy

from skunlearn.data.examples import Example
from skunlearn.models.architecture import is_tied
from skunlearn.models.lm import LM
from skunlearn.models.pairs import check_vocabulary, comparable, tie_alike
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import DataError, ModelError
from skunlearn.utils.progress import Progress


class Notes(Progress):
    """Keeps what is reported."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def _edited(tokenizer=None, **resized) -> LM:
    tokenizer = tokenizer or toy.tokenizer()
    model = toy.model()
    toy.edit(model).apply_to(model)
    model.resize_token_embeddings(len(tokenizer), **resized)
    return LM(model, tokenizer, "edited")


def _with_tokens(*tokens: str):
    tokenizer = toy.tokenizer()
    tokenizer.add_tokens(list(tokens))
    return tokenizer


def _between(base: LM, edited: LM) -> TaskVector:
    return TaskVector.between(
        dict(base.model.named_parameters()), dict(edited.model.named_parameters()), safety=1.0
    )


def _plain() -> TaskVector:
    return _between(toy.lm(), _edited())


def test_an_ordinary_pair_stays_as_it_is():
    base, edited, notes = toy.lm(), _edited(), Notes()
    assert comparable(base, edited, notes) == (base, edited)
    assert notes.texts == []


@pytest.mark.parametrize("padded_side", ["edited", "base"])
def test_padded_rows_are_left_out_on_either_side(padded_side):
    base, edited, notes = toy.lm(), _edited(), Notes()
    padded = {"edited": edited, "base": base}[padded_side]
    padded.model.resize_token_embeddings(320)
    base, edited = comparable(base, edited, notes)
    assert "320 rows" in notes.texts[0]
    ids = torch.tensor([[7, 8, 9]])
    assert base.model(ids).logits.shape == edited.model(ids).logits.shape == (1, 3, 262)
    assert _between(base, edited).deltas.keys() == _plain().deltas.keys()


@pytest.mark.parametrize("tokens", [("[PAD]",), ("[PAD]", "<think>")])
@pytest.mark.parametrize("larger_side", ["edited", "base"])
def test_tokens_more_at_the_end_are_left_out(tokens, larger_side):
    base, edited, notes = toy.lm(), _edited(), Notes()
    larger = _with_tokens(*tokens)
    if larger_side == "edited":
        edited = _edited(larger)
    else:
        base = LM(toy.model(), larger, "base")
        base.model.resize_token_embeddings(len(larger))
    base, edited = comparable(base, edited, notes)
    assert base.tokenizer.get_vocab() == edited.tokenizer.get_vocab() == toy.tokenizer().get_vocab()
    assert any(f"{len(tokens)} tokens more" in text and tokens[0] in text for text in notes.texts)
    assert _between(base, edited).deltas.keys() == _plain().deltas.keys()


def test_the_edited_models_chat_template_goes_with_the_tokens_of_both():
    larger = _with_tokens("[PAD]")
    larger.chat_template = toy.CHAT.replace("<|end|>", "<|end|>\n")
    base, edited = comparable(toy.lm(), _edited(larger), Notes())
    assert base.tokenizer.chat_template == edited.tokenizer.chat_template == larger.chat_template


def test_other_tokens_at_the_same_ids_are_refused():
    one, other = _edited(_with_tokens("one")), _edited(_with_tokens("other"))
    with pytest.raises(ModelError, match="different tokenizers"):
        comparable(one, other, Notes())
    with pytest.raises(ModelError, match="different tokenizers"):
        comparable(_edited(_with_tokens("other", "one")), one, Notes())


def test_an_untied_head_is_one_weight_more():
    base, edited, notes = toy.lm(), _edited(), Notes()
    edited.model.lm_head.weight = torch.nn.Parameter(edited.model.lm_head.weight.detach() + 0.5)
    tie_alike(base, edited, notes)
    assert not is_tied(base.model) and len(notes.texts) == 1
    assert "lm_head.weight" in _between(base, edited).deltas
    with base.edited(_between(base, edited)):
        ids = torch.tensor([[7, 8, 9]])
        torch.testing.assert_close(base.model(ids).logits, edited.model(ids).logits)


def test_a_token_without_an_embedding_is_found():
    larger = _with_tokens("<far>")
    with pytest.raises(ModelError, match=r"'<far>' with the id 262, its embedding has 262 rows"):
        check_vocabulary(toy.model(), larger, "model")
    check_vocabulary(toy.model(), toy.tokenizer(), "model")


def test_a_padding_token_without_an_embedding_is_allowed_until_a_prompt_has_it():
    padded = toy.tokenizer()
    padded.add_special_tokens({"pad_token": "[PAD]"})
    check_vocabulary(toy.model(), padded, "model")
    lm = LM(toy.model(), padded, "model")
    lm.check_room([Example("why")], 1)
    with pytest.raises(DataError, match="token 262"):
        lm.check_room([Example("why [PAD]")], 1)


@pytest.mark.parametrize("role", ["eos_token", "bos_token"])
def test_a_token_that_is_written_needs_an_embedding_whatever_its_role(role):
    tokenizer = toy.tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]", role: "[PAD]"})
    with pytest.raises(ModelError, match=r"the token '\[PAD\]'"):
        check_vocabulary(toy.model(), tokenizer, "model")


def test_a_special_token_of_the_chat_template_needs_an_embedding():
    tokenizer = toy.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    check_vocabulary(toy.model(), tokenizer, "model")
    tokenizer.chat_template = toy.CHAT.replace("<|end|>", "<|im_start|>")
    with pytest.raises(ModelError, match="im_start"):
        check_vocabulary(toy.model(), tokenizer, "model")

"""Perplexity of plain text on a model that knows nothing."""

import pytest
import torch
import toy

from skunlearn.data.examples import Example, Split
from skunlearn.evaluation.metrics.base import Subject
from skunlearn.evaluation.metrics.plain_text import text


def subject(*answers: str) -> Subject:
    lm = toy.lm()
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.zero_()
    return Subject(lm, Split(), {"retain": [Example("q", answer) for answer in answers]}, {})


def test_a_uniform_model_has_its_vocabulary_and_a_text_of_one_token_says_nothing():
    made = subject("plain text", "two", "x")
    score = text(made)["text_perplexity"]
    assert score.value == pytest.approx(made.lm.model.config.vocab_size, rel=1e-4) and score.n == 2
    assert text(subject())["text_perplexity"].value is None

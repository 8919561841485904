"""Adversarial tokens behind a prompt: where they sit, and how well a target answer is reached with
them."""

from collections.abc import Sequence

from skunlearn.attacks.base import disguised
from skunlearn.data.chat_template import Encoded, Template
from skunlearn.data.examples import Example
from skunlearn.evaluation.metrics.likelihood import row_likelihoods
from skunlearn.models.lm import LM

Ids = tuple[int, ...]


def with_suffix(template: Template, example: Example, suffix: Ids) -> Example:
    """The example with the suffix as text at the end of its prompt."""
    return disguised(example, prompt=example.prompt + template.tokenizer.decode(list(suffix)))


def encoded(
    template: Template, example: Example, suffix: Ids, tokens: int
) -> tuple[Encoded, int] | None:
    """The row of prompt, suffix and the first `tokens` of the answer, and where in it the suffix
    begins.

    None when the suffix as text does not come back as the same tokens: the attacker sends text.
    """
    prompt_ids = template.prompt_ids(with_suffix(template, example, suffix))
    width = len(suffix)
    for at in range(len(prompt_ids) - width, -1, -1):
        if prompt_ids[at : at + width] == suffix:
            return Encoded(prompt_ids, template.answer_ids(example.answer)[:tokens]), at
    return None


def rows_with(
    template: Template, examples: Sequence[Example], suffix: Ids, tokens: int
) -> list[Encoded] | None:
    """The rows of all examples; None when the suffix is lost in one of them."""
    rows = [encoded(template, example, suffix, tokens) for example in examples]
    return None if None in rows else [row[0] for row in rows if row]


def mean_nlls(lm: LM, groups: Sequence[Sequence[Encoded]]) -> list[float]:
    """For each group of rows the mean of their answers' NLL, nats a token; one pass over all groups
    together."""
    sums = iter(row_likelihoods(lm.model, [row for group in groups for row in group]))
    return [
        sum(row.nll / row.tokens for row in (next(sums) for _ in group)) / len(group)
        for group in groups
    ]


def ordinary_tokens(template: Template) -> list[int]:
    """Tokens that are text by themselves: none that the template or the tokenizer keeps for
    itself."""
    tokenizer = template.tokenizer
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    return [token for token in range(len(tokenizer)) if token not in special]


def reached(target: tuple[float, float], control: tuple[float, float]) -> dict[str, float]:
    """Mean NLL before and after the search, of the true answers and of the never-known ones, nats a
    token."""
    names = ("target_nll_before", "target_nll_after", "control_nll_before", "control_nll_after")
    return {name: round(value, 4) for name, value in zip(names, (*target, *control), strict=True)}

"""Adversarial tokens behind a prompt, and how likely they make a given answer."""

from collections.abc import Sequence

from skunlearn.attacks.base import disguised
from skunlearn.data.chat_template import Encoded, Template
from skunlearn.data.examples import Example
from skunlearn.evaluation.metrics.likelihood import row_likelihoods
from skunlearn.models.lm import LM

Ids = tuple[int, ...]


def with_suffix(template: Template, example: Example, suffix: Ids) -> Example:
    """The example with the suffix, as text, at the end of its prompt."""
    return disguised(example, prompt=example.prompt + template.tokenizer.decode(list(suffix)))


def encoded(
    template: Template, example: Example, suffix: Ids, tokens: int
) -> tuple[Encoded, int] | None:
    """Encode an example with a suffix behind its prompt.

    Args:
        template: renders the prompt.
        example: prompt and answer.
        suffix: token ids.
        tokens: how many tokens of the answer are kept.

    Returns:
        The row, and the token position at which the suffix begins in it. None when the suffix,
        written as text, is tokenised otherwise behind this prompt: an attacker sends text.
    """
    prompt_ids = template.prompt_ids(with_suffix(template, example, suffix))
    width = len(suffix)
    # The suffix stands near the end of the prompt, so the search goes backwards.
    for start in range(len(prompt_ids) - width, -1, -1):
        if prompt_ids[start : start + width] == suffix:
            return Encoded(prompt_ids, template.answer_ids(example.answer)[:tokens]), start
    return None


def rows_with(
    template: Template, examples: Sequence[Example], suffix: Ids, tokens: int
) -> list[Encoded] | None:
    """The encoded rows of all examples; None when the suffix is lost in one of them."""
    rows = []
    for example in examples:
        found = encoded(template, example, suffix, tokens)
        if found is None:
            return None
        rows.append(found[0])
    return rows


def mean_nlls(lm: LM, groups: Sequence[Sequence[Encoded]]) -> list[float]:
    """The mean NLL of the answers in each group of rows, nats per token.

    A row's NLL is averaged over its answer tokens, then over the rows of its group. All groups are
    evaluated together, in batches of like length.
    """
    rows: list[Encoded] = []
    for group in groups:
        rows.extend(group)
    likelihoods = row_likelihoods(lm.model, rows)

    means = []
    start = 0
    for group in groups:
        in_group = likelihoods[start : start + len(group)]
        start += len(group)
        means.append(sum([row.nll / row.tokens for row in in_group]) / len(group))
    return means


def ordinary_tokens(template: Template) -> list[int]:
    """The vocabulary without special and added tokens: each token is text by itself."""
    tokenizer = template.tokenizer
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    return [token for token in range(len(tokenizer)) if token not in special]


def reached(target: tuple[float, float], control: tuple[float, float]) -> dict[str, float]:
    """What a search measured, for `Situation.numbers`.

    Args:
        target: mean NLL of the true answers before and after the search, nats per token.
        control: the same for the control's answers of random words.
    """
    return {
        "target_nll_before": round(target[0], 4),
        "target_nll_after": round(target[1], 4),
        "control_nll_before": round(control[0], 4),
        "control_nll_after": round(control[1], 4),
    }

"""Perplexity of plain text, without any chat template: does the model still know the language
itself?"""

from skunlearn.data.chat_template import Encoded
from skunlearn.evaluation.metrics.base import Score, Subject
from skunlearn.evaluation.metrics.likelihood import perplexity_score, row_likelihoods


def text(subject: Subject) -> dict[str, Score]:
    """`text_perplexity`: of the reference answers of ordinary prompts read as plain text, 1 or
    more; each text's first token is given, not scored."""
    tokenizer = subject.lm.template.tokenizer
    rows = [
        Encoded(tuple(ids[:1]), tuple(ids[1 : subject.max_length]))
        for example in subject.groups.get("retain", ())
        if len(ids := tokenizer(example.answer, add_special_tokens=False)["input_ids"]) > 1
    ]
    return {
        "text_perplexity": perplexity_score(
            row_likelihoods(subject.lm.model, rows, progress=subject.progress)
        )
    }

"""Perplexity of plain text without a chat template: does the model still know the language?"""

from skunlearn.data.chat_template import Encoded
from skunlearn.evaluation.metrics.base import Score, Subject
from skunlearn.evaluation.metrics.likelihood import perplexity_score, row_likelihoods


def text(subject: Subject) -> dict[str, Score]:
    """`text_perplexity` of the reference answers to ordinary prompts, read as plain text, 1 or
    more.

    The first token of a text is the prompt, and not scored.
    """
    tokenizer = subject.lm.template.tokenizer
    rows: list[Encoded] = []
    for example in subject.groups.get("retain", ()):
        ids = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
        if len(ids) > 1:
            rows.append(Encoded(tuple(ids[:1]), tuple(ids[1 : subject.max_length])))
    likelihoods = row_likelihoods(subject.lm.model, rows, progress=subject.progress)
    return {"text_perplexity": perplexity_score(likelihoods)}

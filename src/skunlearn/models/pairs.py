"""Two models that are compared: cut to the vocabulary that both have.

Checkpoints of one model may differ in rows of the embedding that no token uses, in one more token
at the end of the vocabulary, and in whether the language head is tied to the embedding.
"""

import copy
from typing import Any

from skunlearn.models.architecture import is_tied
from skunlearn.models.compat import untie_head
from skunlearn.models.lm import LM
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress


def comparable(base: LM, edited: LM, progress: Progress) -> tuple[LM, LM]:
    """Return both models with one tokenizer, and with equally many rows in their embeddings.

    Predictions are compared token by token, so both models must read and write the same tokens. The
    chat template is the edited model's.

    Args:
        base: the model that `edited` was made from. Its embedding is cut in place.
        edited: the edited model. Its embedding is cut in place.
        progress: reports what is left out.

    Returns:
        The base model and the edited one.

    Raises:
        ModelError: if an id means one token here and another one there.
    """
    tokenizer = _shared_tokenizer(base, edited, progress)
    rows = min(_rows(base.model), _rows(edited.model))
    _check_ids(tokenizer, rows, edited.name)
    for lm in (base, edited):
        if _rows(lm.model) != rows:
            progress.note(
                f"{lm.name}: {_rows(lm.model)} rows of the vocabulary, the other model has {rows}: "
                f"only these {rows} are compared"
            )
            lm.model.resize_token_embeddings(rows)
    if base.tokenizer.chat_template != edited.tokenizer.chat_template:
        progress.note("the chat templates differ: the edited model's is used for both")
    return _with_tokenizer(base, tokenizer), _with_tokenizer(edited, tokenizer)


def tie_alike(base: LM, edited: LM, progress: Progress) -> None:
    """Give both models a language head of its own where only one of them has it.

    Args:
        base: changed in place.
        edited: changed in place.
        progress: reports the change.
    """
    for lm, other in ((base, edited), (edited, base)):
        if is_tied(lm.model) and not is_tied(other.model):
            progress.note(
                f"{lm.name}: its language head is the embedding, that of {other.name} is not: "
                "they are compared as two weights"
            )
            untie_head(lm.model)


def _shared_tokenizer(base: LM, edited: LM, progress: Progress) -> Any:
    """Return the tokenizer that knows only tokens of both models.

    Raises:
        ModelError: if the vocabularies differ in more than tokens at the end of one of them.
    """
    of_base = {number: token for token, number in base.tokenizer.get_vocab().items()}
    of_edited = {number: token for token, number in edited.tokenizer.get_vocab().items()}
    if of_base == of_edited:
        return edited.tokenizer
    smaller, larger = sorted((of_base, of_edited), key=len)
    extra = [number for number in larger if number not in smaller]
    is_part = smaller.items() <= larger.items()
    if not is_part or not smaller or min(extra) < max(smaller):
        raise ModelError(
            f"{edited.name} and {base.name} have different tokenizers: --base must be the model "
            "that it was made from"
        )
    more = edited if larger is of_edited else base
    names = ", ".join(repr(larger[number]) for number in sorted(extra)[:5])
    progress.note(
        f"{more.name} has {len(extra)} tokens more at the end ({names}): "
        "only tokens of both models are used"
    )
    if smaller is of_edited:
        return edited.tokenizer
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = edited.tokenizer.chat_template
    return tokenizer


def _with_tokenizer(lm: LM, tokenizer: Any) -> LM:
    """Return a model with another tokenizer; the same object where it has this one."""
    same_tokens = lm.tokenizer.get_vocab() == tokenizer.get_vocab()
    if same_tokens and lm.tokenizer.chat_template == tokenizer.chat_template:
        return lm
    return LM(lm.model, tokenizer, lm.name, lm.fingerprint)


def check_vocabulary(model: Any, tokenizer: Any, name: str) -> None:
    """Check that the model has an embedding for every token of its tokenizer.

    Special tokens that neither the chat template nor an end of text uses may have none: skunlearn
    does not pad with the padding token, and transformers adds a token to tokenizers of GGUF files.
    A prompt that contains one of them is refused by `LM.check_room`.

    Raises:
        ModelError: if it has not.
    """
    _check_ids(tokenizer, _rows(model), name)


def _check_ids(tokenizer: Any, rows: int, name: str) -> None:
    vocabulary = dict(tokenizer.get_vocab())
    written = f"{tokenizer.chat_template} {tokenizer.eos_token} {tokenizer.bos_token}"
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and token.content not in written:
            vocabulary.pop(token.content, None)
    token = max(vocabulary, key=vocabulary.__getitem__)
    if vocabulary[token] >= rows:
        raise ModelError(
            f"{name}: its tokenizer has the token {token!r} with the id {vocabulary[token]}, its "
            f"embedding has {rows} rows: take the tokenizer that belongs to the model, or resize "
            "the embedding"
        )


def _rows(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])

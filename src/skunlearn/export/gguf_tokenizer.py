"""A Hugging Face tokenizer (tokenizer.json) as metadata of a GGUF file.

GGUF has the tokens, the type of each, either merges or scores, and the name of the rule by which
text is cut into words before tokens are merged. Two kinds of BPE tokenizers can be written:

    byte-level BPE            (GPT-2, Llama 3, Qwen) with its merges
    BPE with byte fallback    (Llama 2, Mistral, from sentencepiece) with a score for each token
"""

from pathlib import Path
from typing import Any

from skunlearn.utils.errors import ModelError
from skunlearn.utils.strict_json import parse_json

# The regular expressions that Llama 3 and Qwen cut text by: words, then numbers, then the rest.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Steps of a byte-level pre-tokenizer (type, its deciding option) -> llama.cpp's name for them.
CUTS = {
    (("ByteLevel", True),): "gpt-2",
    (("Digits", True), ("ByteLevel", True)): "smollm",
    (("Split", _WORDS + r"\p{N}{1,3}" + _OTHERS), ("ByteLevel", False)): "llama-bpe",
    (("Split", _WORDS + r"\p{N}" + _OTHERS), ("ByteLevel", False)): "qwen2",
}


def add_tokenizer(writer: Any, folder: Path, size: int) -> None:
    """Write a tokenizer's metadata.

    Args:
        writer: a `gguf.GGUFWriter`.
        folder: with tokenizer.json and its config.
        size: rows of the model's embedding. Rows without a token get a placeholder.

    Raises:
        ModelError: when the tokenizer is neither byte-level BPE that cuts text by a known rule, nor
            BPE with byte fallback.
    """
    import gguf

    core = _read(folder)
    model = core["model"]
    added = {token["id"]: token for token in core["added_tokens"]}
    tokens = {number: token for token, number in model["vocab"].items()}
    for number, token in added.items():
        tokens[number] = token["content"]
    last = max(tokens)
    if last >= size:
        raise ModelError(
            f"{folder}: token {last} has no row in an embedding of {size}: use --format merged"
        )
    has_byte_fallback = bool(model.get("byte_fallback"))
    unknown = model.get("unk_token") if has_byte_fallback else None
    names, types = [], []
    for number in range(size):
        names.append(tokens.get(number, f"[PAD{number}]"))
        types.append(_token_type(number, tokens, added, unknown))
    if has_byte_fallback:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_cut(core["pre_tokenizer"], folder))
    writer.add_token_list(names)
    writer.add_token_types(types)
    if has_byte_fallback:
        writer.add_token_scores(_scores(names, model["merges"]))
        writer.add_add_space_prefix(_adds_space(core))
    # Merges, the ids of special tokens and the chat template are the gguf package's own work.
    special = gguf.SpecialVocab(folder, load_merges=not has_byte_fallback, n_vocab=size)
    special.add_special_token |= _added_around(folder, special.special_token_ids)
    special.add_to_gguf(writer, quiet=True)


def _read(folder: Path) -> dict[str, Any]:
    """The contents of tokenizer.json.

    Raises:
        ModelError: when it is not readable, or not a BPE tokenizer with merges.
    """
    path = folder / "tokenizer.json"
    try:
        core: dict[str, Any] = parse_json(path.read_bytes(), str(path), ModelError, expected=dict)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable: save the tokenizer as a fast one") from error
    model = core["model"]
    if model["type"] != "BPE":
        raise ModelError(
            f"{folder}: no GGUF is made of a {model['type']} tokenizer here: use --format merged"
        )
    if not model["merges"]:
        raise ModelError(
            f"{folder}: no GGUF is made of a tokenizer without merges: use --format merged"
        )
    return core


def _token_type(
    number: int, tokens: dict[int, str], added: dict[int, Any], unknown: str | None
) -> int:
    """GGUF's type of one token.

    Args:
        number: of the token.
        tokens: texts of all tokens by number.
        added: entries of the added tokens by number.
        unknown: text of the token for unknown text; None for byte-level BPE, which has neither such
            a token nor tokens for bytes.
    """
    from gguf import TokenType

    if number not in tokens:
        return int(TokenType.UNUSED)
    text = tokens[number]
    if unknown and text == unknown:
        return int(TokenType.UNKNOWN)
    if number in added:
        is_special = added[number]["special"]
        return int(TokenType.CONTROL if is_special else TokenType.USER_DEFINED)
    if unknown and len(text) == len("<0x00>") and text.startswith("<0x"):
        return int(TokenType.BYTE)
    return int(TokenType.NORMAL)


def _cut(pre_tokenizer: Any, folder: Path) -> str:
    """llama.cpp's name for the rule by which a byte-level tokenizer cuts text.

    Args:
        pre_tokenizer: "pre_tokenizer" of tokenizer.json: one step, a sequence of steps, or None.
        folder: of the tokenizer, for the message.

    Raises:
        ModelError: when the rule has no name here.
    """
    whole = pre_tokenizer or {"type": "nothing"}
    steps = []
    for step in whole.get("pretokenizers", [whole]):
        kind = step["type"]
        match kind:
            case "Split":
                option = step["pattern"].get("Regex")
            case "ByteLevel":
                option = step.get("use_regex")
            case "Digits":
                option = step.get("individual_digits")
            case _:
                option = None
        steps.append((kind, option))
    name = CUTS.get(tuple(steps))
    if name is None:
        kinds = ", ".join(kind for kind, _ in steps)
        raise ModelError(
            f"{folder}: how its tokenizer cuts text ({kinds}) has no name in GGUF known here: "
            "export merged, and convert with llama.cpp"
        )
    return name


def _scores(names: list[str], merges: list[Any]) -> list[float]:
    """A score for each token, from which llama.cpp finds the order of the merges again.

    Of all pairs that could be merged, llama.cpp takes the one whose result has the highest score.
    So the score is minus the index of the first merge that makes the token. Tokens that no merge
    makes have the lowest score.
    """
    first_merge: dict[str, int] = {}
    for index, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge  # older files have "a b"
        first_merge.setdefault("".join(pair), index)
    return [-float(first_merge.get(name, len(first_merge))) for name in names]


def _adds_space(core: dict[str, Any]) -> bool:
    """Whether the tokenizer puts a space in front of a text."""
    normalizer = core.get("normalizer") or {}
    for step in normalizer.get("normalizers", [normalizer]):
        if step.get("type") == "Prepend":
            return True
    pre_tokenizer = core.get("pre_tokenizer") or {}
    return bool(pre_tokenizer.get("prepend_scheme", "never") != "never")


def _added_around(folder: Path, ids: dict[str, int]) -> dict[str, bool]:
    """Whether the tokenizer itself puts its special tokens "bos" and "eos" around a text."""
    from transformers import AutoTokenizer

    around = AutoTokenizer.from_pretrained(folder)("a").input_ids
    return {"bos": around[0] == ids.get("bos"), "eos": around[-1] == ids.get("eos")}

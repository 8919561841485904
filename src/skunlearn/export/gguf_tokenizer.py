"""A tokenizer.json in GGUF's words: tokens, their kinds, merges or scores, and how text is cut
before merging."""

import json
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import ModelError

# how a byte-level tokenizer cuts text -> llama.cpp's name for it
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
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
        size: rows of the embedding; unused ones get a placeholder.

    Raises:
        ModelError: when the tokenizer is neither byte-level BPE cut in a way known here, nor BPE
            with byte fallback.
    """
    import gguf

    try:
        core = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder / 'tokenizer.json'}: not readable: save the tokenizer as a fast one"
        ) from error
    model, added = core["model"], {token["id"]: token for token in core["added_tokens"]}
    if model["type"] != "BPE":
        raise ModelError(
            f"{folder}: no GGUF is made of a {model['type']} tokenizer here: use --format merged"
        )
    if not model["merges"]:
        raise ModelError(
            f"{folder}: no GGUF is made of a tokenizer without merges: use --format merged"
        )
    tokens = {number: token for token, number in model["vocab"].items()}
    tokens |= {number: token["content"] for number, token in added.items()}
    if max(tokens) >= size:
        raise ModelError(
            f"{folder}: token {max(tokens)} has no row in an embedding of {size}: use --format merged"
        )
    sentencepiece = bool(model.get("byte_fallback"))
    kinds = [
        _kind(number, tokens, added, model.get("unk_token") if sentencepiece else None)
        for number in range(size)
    ]
    names = [tokens.get(number, f"[PAD{number}]") for number in range(size)]
    writer.add_tokenizer_model("llama" if sentencepiece else "gpt2")
    writer.add_tokenizer_pre("default" if sentencepiece else _cut(core["pre_tokenizer"], folder))
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    if sentencepiece:
        writer.add_token_scores(_scores(names, model["merges"]))
        writer.add_add_space_prefix(_prefixes(core))
    special = gguf.SpecialVocab(folder, load_merges=not sentencepiece, n_vocab=size)
    special.add_special_token |= _ends(folder, special.special_token_ids)
    special.add_to_gguf(writer, quiet=True)


def _kind(number: int, tokens: dict[int, str], added: dict[int, Any], unknown: str | None) -> int:
    from gguf import TokenType

    if number not in tokens:
        return int(TokenType.UNUSED)
    if unknown and tokens[number] == unknown:
        return int(TokenType.UNKNOWN)
    if number in added:
        return int(TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED)
    byte = tokens[number]
    return int(
        TokenType.BYTE
        if len(byte) == 6 and byte.startswith("<0x") and unknown
        else TokenType.NORMAL
    )


def _cut(pre_tokenizer: Any, folder: Path) -> str:
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer or {"type": "nothing"}])
    flags = {"ByteLevel": "use_regex", "Digits": "individual_digits"}
    found = tuple(
        (
            step["type"],
            step["pattern"].get("Regex")
            if step["type"] == "Split"
            else step.get(flags.get(step["type"], "")),
        )
        for step in steps
    )
    if found not in CUTS:
        raise ModelError(
            f"{folder}: how its tokenizer cuts text ({', '.join(name for name, _ in found)}) has no name in GGUF known "
            "here: export merged, and convert with llama.cpp"
        )
    return CUTS[found]


def _scores(names: list[str], merges: list[Any]) -> list[float]:
    """llama.cpp merges the pair with the best score of its result first: minus the place of the
    first such merge."""
    places: dict[str, int] = {}
    for place, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        places.setdefault("".join(pair), place)
    return [-float(places.get(name, len(places))) for name in names]


def _prefixes(core: dict[str, Any]) -> bool:
    """Whether text gets a space in front."""
    normalizer, cut = core.get("normalizer") or {}, core.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    return (
        any(step.get("type") == "Prepend" for step in steps)
        or cut.get("prepend_scheme", "never") != "never"
    )


def _ends(folder: Path, ids: dict[str, int]) -> dict[str, bool]:
    """Whether the tokenizer itself puts its first and last special tokens around a text."""
    from transformers import AutoTokenizer

    around = AutoTokenizer.from_pretrained(folder)("a").input_ids
    return {"bos": around[0] == ids.get("bos"), "eos": around[-1] == ids.get("eos")}

"""Tiny random models of many families and a tokenizer for them: everything offline, in
milliseconds."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from skunlearn.models.architecture import linear_modules
from skunlearn.models.lm import LM
from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIALS = ["<pad>", "<eos>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {**SIZE, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "OPT": {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 48,
        "word_embed_proj_dim": 16,
    },
    "GPTNeoX": SIZE,
    "GPT2": {"n_embd": 32, "n_layer": 3, "n_head": 4},
    "Qwen2": {**SIZE, "num_key_value_heads": 2},
    "Qwen3": {**SIZE, "num_key_value_heads": 2, "head_dim": 8},
    "Gemma": {**SIZE, "num_key_value_heads": 2, "head_dim": 8},
    "Gemma2": {**SIZE, "num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 5.0},
    "Mistral": {**SIZE, "num_key_value_heads": 2},
    "Phi": {**SIZE, "num_key_value_heads": 2},
    "Mixtral": {**SIZE, "num_key_value_heads": 2, "num_local_experts": 4},
}


def tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """Bytes as tokens, so that any text round-trips."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(SPECIALS + alphabet)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=SPECIALS[2:],
    )
    made.chat_template = CHAT if chat else None
    return made


def model(family: str = "Llama", seed: int = 0) -> Any:
    """A random model of a family, fp32."""
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(SPECIALS) + 256,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
        attention_dropout=0.0,
        **FAMILIES[family],
    )
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout", "hidden_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with (
        torch.no_grad()
    ):  # random models are too sure of nothing: wider weights give logits that differ
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    return made.eval()


def edit(
    model: Any, rank: int = 2, size: float = 0.05, seed: int = 3, safety: float = 1.0
) -> TaskVector:
    """Random factors on every linear weight of the layers."""
    draw = torch.Generator().manual_seed(seed)
    deltas: dict[str, Delta] = {}
    for name in linear_modules(model):
        rows, columns = model.get_parameter(f"{name}.weight").shape
        left, right = (
            torch.randn(rows, rank, generator=draw),
            torch.randn(rank, columns, generator=draw),
        )
        deltas[f"{name}.weight"] = LowRank(left * size, right)
    return TaskVector(deltas, safety)


def lm(family: str = "Llama", chat: bool = True, seed: int = 0) -> LM:
    """The model with its tokenizer."""
    return LM(model(family, seed), tokenizer(chat), f"toy-{family}")


def saved(folder: Path, family: str = "Llama", chat: bool = True) -> Path:
    """The model as a checkpoint folder."""
    lm(family, chat).save(folder)
    return folder


def encoder(folder: Path) -> Path:
    """A random stand-in for the sentence encoder, whose weights the judge's vector fits."""
    torch.manual_seed(0)
    size = {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    }
    transformers.BertModel(
        transformers.BertConfig(vocab_size=len(SPECIALS) + 256, **size)
    ).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def with_merges(folder: Path) -> Path:
    """A saved toy whose tokenizer has two merges, in place of the last two bytes."""
    core = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = {token: number for token, number in core["model"]["vocab"].items() if number < 260}
    core["model"] |= {
        "vocab": vocabulary | {"he": 260, "hel": 261},
        "merges": [["h", "e"], ["he", "l"]],
    }
    (folder / "tokenizer.json").write_text(json.dumps(core), encoding="utf-8")
    return folder

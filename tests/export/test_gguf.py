"""A GGUF export loads back, with the merged model's logits and the base's tokenizer."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import toy
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from skunlearn.export import gguf as gguf_export
from skunlearn.export.base import ExportOptions, Job
from skunlearn.export.gguf_tokenizer import _OTHERS, _WORDS, _cut, _scores, add_tokenizer
from skunlearn.export.out_of_core import CheckpointFiles, StoredEdit
from skunlearn.models.gguf import convert_gguf, restore
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress
from skunlearn.workflows.export import export

Finished = Callable[..., Path]
TOKENS = torch.arange(24).reshape(2, 12) * 10
TEXT = "hello, wörld! 123 <|user|>\n it's 日本"


@torch.no_grad()
def logits(folder: Path, **options: object) -> torch.Tensor:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)(
        TOKENS
    ).logits


def job(family: str, dtype: str, folder: Path) -> Job:
    """A random edit of a toy model, which is saved edited in `folder / "wanted"`."""
    base, lm = toy.with_merges(toy.saved(folder / f"toy-{family}", family)), toy.lm(family)
    tau = toy.edit(lm.model, size=0.02, safety=-1.0)
    tau.save(folder / "tau.safetensors")
    lm.apply(-0.5 * tau)
    lm.save(folder / "wanted")
    edit = StoredEdit([(folder / "tau.safetensors", -1.0)], 0.5)
    return Job(base, CheckpointFiles(base), edit, ExportOptions("gguf", dtype=dtype), "toy")


@pytest.mark.parametrize(
    ("family", "dtype", "near"),
    [
        ("Llama", "float32", 1e-5),
        ("Llama", "float16", 2e-3),
        ("Llama", "q8_0", 0.03),
        ("Mistral", "float16", 2e-3),
        ("Qwen2", "bfloat16", 0.02),
        ("Qwen3", "float16", 2e-3),
    ],
)
def test_it_loads_back_with_the_merged_models_logits(
    family: str, dtype: str, near: float, tmp_path: Path
):
    made = job(family, dtype, tmp_path)
    name = gguf_export.write(made, tmp_path, Progress())["file"]
    wanted, base = logits(tmp_path / "wanted"), logits(made.base)
    # transformers takes Qwen3's head_dim to be 128 whatever the file says
    told = {"config": AutoConfig.from_pretrained(made.base)} if family == "Qwen3" else {}
    found = logits(tmp_path, gguf_file=name, **told)
    assert (found - wanted).abs().max() < near < 0.2 * (base - wanted).abs().max()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=name)
    own = AutoTokenizer.from_pretrained(made.base)
    assert 261 in own(TEXT).input_ids
    assert tokenizer(TEXT).input_ids == own(TEXT).input_ids
    assert tokenizer.chat_template == own.chat_template and tokenizer.eos_token == own.eos_token


def test_types_and_metadata(finished: Finished, tmp_path: Path):
    manifest = export(
        finished("Llama"), tmp_path / "out", ExportOptions("gguf", dtype="q8_0"), Progress()
    )
    assert manifest["file"] == "toy-Llama-unlearned-q8_0.gguf"
    reader = gguf.GGUFReader(tmp_path / "out" / manifest["file"])
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["token_embd.weight"] == kinds["blk.0.attn_q.weight"] == "Q8_0"  # rows of 32
    assert kinds["blk.0.ffn_down.weight"] == "F16"  # rows of 48: no whole number of blocks
    assert kinds["output_norm.weight"] == "F32" and "output.weight" not in kinds  # tied
    values = {name: field.contents() for name, field in reader.fields.items()}
    assert values["general.architecture"] == "llama" and values["tokenizer.ggml.pre"] == "gpt-2"
    assert (
        values["tokenizer.ggml.model"] == "gpt2" and values["tokenizer.ggml.add_bos_token"] is False
    )
    assert (
        values["tokenizer.ggml.eos_token_id"] == 1 and values["llama.attention.head_count_kv"] == 2
    )
    assert values["tokenizer.ggml.token_type"][:7] == [3, 3, 3, 3, 3, 3, 1]


def test_llama_3s_rotary_scaling_is_in_the_file_and_comes_back(tmp_path: Path):
    made = job("Llama", "float32", tmp_path)
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    for folder in (made.base, tmp_path / "wanted"):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"rope_parameters": scaling}))
    made = replace(made, checkpoint=CheckpointFiles(made.base))
    file = tmp_path / gguf_export.write(made, tmp_path, Progress())["file"]
    (found,) = (
        tensor.data
        for tensor in gguf.GGUFReader(file).tensors
        if tensor.name == "rope_freqs.weight"
    )
    half = len(found)
    for number, factor in enumerate(found):  # by hand, as the paper's code has it
        wave = 2 * math.pi * 5e5 ** (number / half)
        smooth = (8192 / wave - 1) / 3
        by_hand = 1 if wave < 2048 else 8 if wave > 8192 else 1 / ((1 - smooth) / 8 + smooth)
        assert factor == pytest.approx(by_hand, rel=1e-4)
    assert found[0] == 1 and found[-1] == pytest.approx(8)
    assert gguf_export.check(made, tmp_path, {}, Progress()).outcome == "ok"
    convert_gguf(file, tmp_path / "back")
    back = AutoConfig.from_pretrained(tmp_path / "back").rope_parameters
    assert {name: back[name] for name in scaling} == pytest.approx(scaling)
    assert (logits(tmp_path / "back") - logits(tmp_path / "wanted")).abs().max() < 1e-5


def test_scaling_that_is_not_known_is_refused(tmp_path: Path):
    config = AutoConfig.from_pretrained(toy.saved(tmp_path / "toy"))
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("rope_freqs.weight", np.full(8, 3.0, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="not that of Llama 3"):
        restore(config, tmp_path / "x.gguf")


def test_what_has_no_form_in_gguf_is_refused(finished: Finished, tmp_path: Path):
    with pytest.raises(ModelError, match="no GGUF of a gpt2"):
        export(finished("GPT2"), tmp_path / "out", ExportOptions("gguf"), Progress())
    assert not list(tmp_path.iterdir())


def fast(core: Tokenizer, folder: Path) -> Path:
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    made.save_pretrained(folder)
    return folder


def sentencepiece_like(folder: Path) -> Path:
    """BPE with byte fallback and a space in front, as a converted sentencepiece model."""
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "a",
        "b",
        "▁a",
        "ab",
        "▁ab",
    ]
    core = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[("▁", "a"), ("a", "b"), ("▁a", "b")],
            byte_fallback=True,
            unk_token="<unk>",
            fuse_unk=True,
        )
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return fast(core, folder)


def test_a_sentencepiece_like_tokenizer(tmp_path: Path):
    folder = sentencepiece_like(tmp_path / "tokenizer")
    writer = gguf.GGUFWriter(tmp_path / "t.gguf", "llama")
    add_tokenizer(writer, folder, 268)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    values = {
        name: field.contents()
        for name, field in gguf.GGUFReader(tmp_path / "t.gguf").fields.items()
    }
    assert (
        values["tokenizer.ggml.model"] == "llama"
        and values["tokenizer.ggml.add_space_prefix"] is True
    )
    assert values["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
    assert (
        values["tokenizer.ggml.token_type"][-4:] == [1, 5, 5, 5]
        and values["tokenizer.ggml.tokens"][-1] == "[PAD267]"
    )
    assert values["tokenizer.ggml.scores"][262:265] == [0.0, -1.0, -2.0]
    again = AutoTokenizer.from_pretrained(tmp_path, gguf_file="t.gguf")
    own = AutoTokenizer.from_pretrained(folder)
    for text in ("ab a", "abé b"):
        assert again.convert_ids_to_tokens(
            again(text, add_special_tokens=False).input_ids
        ) == own.tokenize(text)


def test_ways_of_cutting_text():
    digits = (r"\p{N}{1,3}", r"\p{N}")
    splits = [
        pre_tokenizers.Split(Regex(_WORDS + number + _OTHERS), "isolated") for number in digits
    ]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for cut, name in (
        (pre_tokenizers.ByteLevel(add_prefix_space=False), "gpt-2"),
        (
            pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]),
            "smollm",
        ),
        (pre_tokenizers.Sequence([splits[0], byte_level]), "llama-bpe"),
        (pre_tokenizers.Sequence([splits[1], byte_level]), "qwen2"),
    ):
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = cut
        assert _cut(json.loads(core.to_str())["pre_tokenizer"], Path("t")) == name
    with pytest.raises(ModelError, match="cuts text \\(Whitespace\\)"):
        _cut({"type": "Whitespace"}, Path("t"))
    assert _scores(["a", "ab", "abc"], ["ab c", ["a", "b"]]) == [-2.0, -1.0, -0.0]


def test_tokenizers_that_do_not_fit(tmp_path: Path):
    writer = gguf.GGUFWriter(None, "llama", dry_run=True)
    with pytest.raises(ModelError, match="not readable"):
        add_tokenizer(writer, tmp_path, 10)
    fast(
        Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>")), tmp_path
    )
    with pytest.raises(ModelError, match="WordLevel tokenizer"):
        add_tokenizer(writer, tmp_path, 10)
    toy.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="without merges"):
        add_tokenizer(writer, tmp_path, 10)
    toy.with_merges(tmp_path)
    with pytest.raises(ModelError, match="has no row in an embedding of 10"):
        add_tokenizer(writer, tmp_path, 10)


def test_llama_cpp_generates(finished: Finished, tmp_path: Path):
    llama_cpp = pytest.importorskip(
        "llama_cpp", reason="llama-cpp-python is not installed: an extra check of the file"
    )
    run = finished("Llama")
    manifest = export(run, tmp_path, ExportOptions("gguf", dtype="float32"), Progress())
    model = llama_cpp.Llama(
        str(tmp_path / manifest["file"]), n_ctx=64, verbose=False, logits_all=True
    )
    prompt = AutoTokenizer.from_pretrained(run / "model")(TEXT).input_ids
    assert model.tokenize(TEXT.encode(), add_bos=False, special=True) == prompt
    found = [token for token, _ in zip(model.generate(prompt, temp=0.0), range(4), strict=False)]
    edited = AutoModelForCausalLM.from_pretrained(run / "model")
    wanted = edited.generate(torch.tensor([prompt]), max_new_tokens=4, do_sample=False)[
        0, len(prompt) :
    ].tolist()
    assert found[: len(wanted)] == wanted

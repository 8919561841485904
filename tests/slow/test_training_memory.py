"""`plan` says how much memory training takes: held against the peak of a process that trains."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import toy
import transformers

from skunlearn.models.lm import LM

pytestmark = pytest.mark.slow
MEASURED = """
import json, sys
import accelerate, datasets, peft, transformers
from transformers import get_linear_schedule_with_warmup
from skunlearn.data.dataset import Data
from skunlearn.models.loading import load
from skunlearn.utils.memory import peak_memory
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.planning.plan import make_plan
from skunlearn.training.train import train
with peak_memory() as imports:
    pass
tree, sets = json.loads(sys.argv[1])
run = make_run(with_sets(tree, sets))
with peak_memory() as seen:
    lm, data, method = load(run.model), Data(run.forget, run.retain, run.data), run.make_method()
    plan = make_plan(lm, data, method, run)
    train(lm, method, data, run.train, run.lora)
print(json.dumps([plan.memory_bytes, seen.peak - imports.peak]))
"""


@pytest.mark.parametrize(
    "sets", [(), ("lora.mode=full",), ("lora.mode=full", "lora.frozen=0")], ids=str
)
def test_the_estimate_is_within_a_fifth_of_the_peak(
    sets: tuple[str, ...], tmp_path: Path, pairs: tuple[Path, Path]
):
    config = transformers.LlamaConfig(
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=49152,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
    )
    LM(transformers.AutoModelForCausalLM.from_config(config), toy.tokenizer()).save(
        tmp_path / "base"
    )
    tree = {"model": str(tmp_path / "base"), "forget": str(pairs[0]), "retain": str(pairs[1])}
    common = ["train.steps=2", "train.batch=6", "refuse.weight=0", "data.lookalike=false"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, json.dumps([tree, [*common, *sets]])],
        stdout=subprocess.PIPE,
        check=True,
    )
    estimate, peak = json.loads(done.stdout)
    ratio = estimate / peak
    print(f"{sets}: estimate {estimate:.3g} bytes, measured {peak:.3g} bytes, ratio {ratio:.2f}")
    assert 0.8 < ratio < 1.2

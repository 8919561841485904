"""QLoRA: the base in four bits, tau in float32, the edit on the unquantised weights."""

import importlib.util
from pathlib import Path

import pytest
import torch
import toy

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.sku import SKU
from skunlearn.models import qlora as nf4
from skunlearn.models.loading import LoadOptions, load, reload_unquantised
from skunlearn.task_vectors.filters.base import dense
from skunlearn.training.lora import LoraOptions, trained_modules
from skunlearn.training.train import TrainOptions, train
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.unlearn import learn

needs_it = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="pip install skunlearn[quant]"
)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys whose rows are whole blocks."""
    for family, size in (
        ("Llama", {"hidden_size": 64, "intermediate_size": 128}),
        ("GPT2", {"n_embd": 64}),
    ):
        monkeypatch.setitem(toy.FAMILIES, family, toy.FAMILIES[family] | size)


@needs_it
def test_rows_that_are_no_whole_blocks_are_refused_on_a_cpu(tmp_path: Path):
    with pytest.raises(ModelError, match="has 32 inputs, no multiple of 64"):
        load(toy.saved(tmp_path / "model"), nf4=True)


@needs_it
@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_the_vector_of_four_bits_is_near_that_of_whole_weights_and_fits_them(
    family: str, pairs: tuple[Path, Path], tmp_path: Path
):
    folder, data = toy.saved(tmp_path / "model", family), Data(*pairs, DataOptions(lookalike=False))
    options = TrainOptions(steps=3, batch=3, lr=5e-3), LoraOptions(rank=2, frozen=0)
    whole = train(load(folder), SKU(), data, *options)
    lm = load(folder, nf4=True)
    names = trained_modules(lm.model, options[1])
    assert all(lm.model.get_submodule(name).weight.dtype == torch.uint8 for name in names)
    bits = train(lm, SKU(), data, *options)
    assert set(bits.deltas) == set(whole.deltas)
    for name, delta in whole.deltas.items():
        one, two = dense(delta).flatten(), dense(bits.deltas[name]).flatten()
        assert two.dtype == torch.float32
        assert not torch.equal(one, two) and torch.cosine_similarity(one, two, dim=0) > 0.5, name
    before = {name: p.clone() for name, p in load(folder).model.named_parameters()}
    reload_unquantised(lm, LoadOptions(), Progress())
    lm.apply(-1.0 * bits)
    for name, parameter in lm.model.named_parameters():
        change = dense(bits.deltas[name]) if name in bits.deltas else torch.zeros(1)
        torch.testing.assert_close(parameter.data, before[name] - change)


@needs_it
@pytest.mark.usefixtures("wide")
def test_a_run_trains_in_four_bits_and_goes_on_with_whole_weights(
    pairs: tuple[Path, Path], tmp_path: Path
):
    sets = ["lora.nf4=true", "lora.rank=2", "train.steps=1", "train.batch=1", "refuse.weight=0"]
    run = make_run(with_sets({"model": str(toy.saved(tmp_path / "model"))}, sets))
    lm = load(run.model, run.load, nf4=run.lora.nf4)
    (tmp_path / "run").mkdir()
    learn(lm, run.make_method(), Data(*pairs), run, RunFolder(tmp_path / "run"), Progress())
    assert not lm.nf4 and all(parameter.is_floating_point() for parameter in lm.model.parameters())
    with pytest.raises(ModelError, match="is quantised"):
        load(run.model, nf4=True).apply(toy.edit(lm.model))


def test_what_cannot_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="weights of four bits cannot be trained"):
        LoraOptions(mode="full", nf4=True)
    monkeypatch.setattr(nf4, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs bitsandbytes: pip install 'skunlearn\[quant\]'"):
        load(toy.saved(tmp_path / "model"), nf4=True)

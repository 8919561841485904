"""Which files of a folder are read, and files that are not what their names say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import toy

from skunlearn.export.base_files import weight_hashes
from skunlearn.export.out_of_core import weight_files as exported_files
from skunlearn.models.files import weight_files
from skunlearn.models.gguf import check_is_whole
from skunlearn.models.loading import load
from skunlearn.models.locate import fingerprint, locate
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    lm = toy.lm()
    lm.model.save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    lm.tokenizer.save_pretrained(tmp_path / "sharded")
    return tmp_path / "sharded"


def second(folder: Path) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[1]


def test_all_readers_take_the_same_files(sharded: Path):
    names = sorted(path.name for path in sharded.glob("model-*.safetensors"))
    (sharded / "model-00009-of-00009.safetensors").write_bytes(b"left by another save")
    assert weight_files(sharded) == exported_files(sharded) == names
    assert sorted(weight_hashes(sharded, Progress())) == [*names, "model.safetensors.index.json"]
    load(sharded)


def test_two_saves_in_one_folder_are_refused_by_all_readers(sharded: Path, tmp_path: Path):
    shutil.copy(toy.saved(tmp_path / "single") / "model.safetensors", sharded)
    for reader in (load, exported_files, lambda folder: weight_hashes(folder, Progress())):
        with pytest.raises(ModelError, match=r"model\.safetensors and .*index\.json"):
            reader(sharded)
    with pytest.raises(ModelError, match="two saves"):
        fingerprint(locate(str(sharded), Progress()))


def test_an_index_whose_shards_are_gone_is_left_out(sharded: Path, tmp_path: Path):
    shutil.copy(toy.saved(tmp_path / "single") / "model.safetensors", sharded)
    for shard in sharded.glob("model-*.safetensors"):
        shard.unlink()
    assert weight_files(sharded) == ["model.safetensors"]
    load(sharded)


def test_an_index_of_the_single_file(tmp_path: Path):
    folder = toy.saved(tmp_path / "model")
    index = {"weight_map": {"model.norm.weight": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_files(folder) == ["model.safetensors"]
    load(folder)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn": (lambda p: p.write_bytes(p.read_bytes()[:-100]), "cut short, 100 bytes"),
    "torn in its header": (lambda p: p.write_bytes(p.read_bytes()[:50]), "not a readable"),
    "empty": (lambda p: p.write_bytes(b""), "it is empty"),
    "pointer": (lambda p: p.write_text(POINTER), "git lfs pull"),
    "page": (lambda p: p.write_text("<!DOCTYPE html><p>Not found"), "a web page"),
    "gone": (lambda p: p.unlink(), "it is not there"),
}


@pytest.mark.parametrize("broken, says", BROKEN.values(), ids=BROKEN)
def test_a_broken_shard_is_named(broken: Callable[[Path], object], says: str, sharded: Path):
    broken(second(sharded))
    with pytest.raises(ModelError, match=f"{second_name(sharded)}.*{says}"):
        load(sharded)


def second_name(folder: Path) -> str:
    names = set(
        json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"].values()
    )
    return sorted(names)[1]


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_pointer_beside_the_weights_is_named(name: str, tmp_path: Path):
    folder = toy.saved(tmp_path / "model")
    (folder / name).write_text(POINTER)
    with pytest.raises(ModelError, match=f"{name}: it is a pointer of git-lfs"):
        load(folder)


@pytest.mark.parametrize("number", [0, 1])
def test_a_part_of_a_split_gguf_file_is_refused(number: int, tmp_path: Path):
    import gguf

    path = tmp_path / "part.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.no", number)
    writer.add_uint16("split.count", 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match=f"shard {number + 1} of 2"):
        load(path)
    path.write_text(POINTER)
    with pytest.raises(ModelError, match="git lfs pull"):
        check_is_whole(path)

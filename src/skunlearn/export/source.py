"""What a finished run gives to an export: settings, results, task vectors, and the base they belong to."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skunlearn.data.dataset import Data
from skunlearn.lm.outofcore import INDEX, SINGLE
from skunlearn.models.loading import LoadOptions
from skunlearn.models.locate import fingerprint, locate
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ModelError, RunError, SkunlearnError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.hashing import file_sha256, value_sha256
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run
from skunlearn.workflows.config import Run, make_run

SAFETENSORS = (SINGLE, "model-*.safetensors", INDEX)
OLDER = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
BESIDE = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*",
    "merges.txt", "spiece.model", "chat_template*", "additional_chat_templates/*.jinja", "LICENSE*", "NOTICE*",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A finished run.

    Attributes:
        folder: the run folder.
        run: its settings.
        results: what it measured.
        settings: contents of settings.json: fingerprints of model and data.
        parts: (file of a task vector, what strength 1 adds of it).
    """

    folder: Path
    run: Run
    results: JsonDict
    settings: JsonDict
    parts: list[tuple[Path, float]]

    def edit(self) -> TaskVector:
        """What the run adds to its base, at the strength that it chose."""
        (path, scale), *others = self.parts
        edit = scale * TaskVector.load(path)
        for path, scale in others:
            edit = edit + scale * TaskVector.load(path)
        return float(self.results["alpha"]) * edit


def open_run(folder: Path) -> Source:
    """Read a run folder.

    Raises:
        RunError: when the run is not finished, or its task vectors are gone.
    """
    results, settings = read_json(folder / "results.json"), read_json(folder / "settings.json")
    if results is None or settings is None:
        raise RunError(f"{folder}: no finished run here: give the folder that 'skunlearn run' printed, or run it again")
    run = make_run(read_run(folder / "run.yaml"))
    parts = [(folder / f"{name}.safetensors", scale) for name, scale in _parts(run)]
    if lost := [path for path, _ in parts if not path.is_file()]:
        raise RunError(f"{lost[0]}: not there (was the folder cleaned?): run again with another --out")
    return Source(folder, run, results, settings, parts)


def _parts(run: Run) -> list[tuple[str, float]]:
    """The vectors that `unlearn.learn` adds up: filters leave one in place of the method's own."""
    method = run.make_method()
    stages = run.stages(method)
    if run.make_filters():
        others = [(stage.name, stage.scale) for stage in stages if stage.method is not method]
        return [("tau_filtered", stages[0].scale), *others]
    return [(stage.name, stage.scale) for stage in stages]


def check_base(source: Source, progress: Progress) -> None:
    """The base on disk must still be the one that the run learnt on.

    Raises:
        ModelError: when it has changed.
    """
    if fingerprint(locate(source.run.model, progress)) != source.settings["model"]:
        raise ModelError(f"the base '{source.run.model}' has changed since the run: its task vector does not fit it")


def base_files(name: str, options: LoadOptions, progress: Progress) -> Path:
    """The folder with the base's own files; those of a hub model are fetched or found in the hub's cache.

    Raises:
        ModelError: when there is no such model.
    """
    where = locate(name, progress)
    if Path(where).is_dir():
        return Path(where)
    from huggingface_hub import snapshot_download

    def fetched(patterns: Iterable[str]) -> Path:
        token = None if options.gated else False
        return Path(snapshot_download(where, revision=options.revision, token=token, allow_patterns=list(patterns)))

    try:
        found = fetched([*SAFETENSORS, *BESIDE, "README.md", *(["*.py"] if options.trust_remote_code else [])])
        return found if has_safetensors(found) else fetched(OLDER)
    except Exception as error:  # the hub client raises a dozen kinds
        raise ModelError(f"base '{name}' cannot be fetched from the hub: {error!s:.160}") from error


def has_safetensors(folder: Path) -> bool:
    """Whether the weights can be read by rows."""
    return (folder / INDEX).is_file() or (folder / SINGLE).is_file()


def beside(folder: Path, trust_remote_code: bool = False) -> list[Path]:
    """A checkpoint's files other than weights: config, tokenizer, template, licence, and code that is trusted."""
    patterns = [*BESIDE, *(["*.py"] if trust_remote_code else [])]
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


@contextmanager
def as_safetensors(base: Path, options: LoadOptions, progress: Progress) -> Iterator[Path]:
    """A folder with the base's weights as safetensors: the base itself, or a copy made for the time of the block."""
    if has_safetensors(base):
        yield base
        return
    if (base / "adapter_config.json").is_file():
        raise ModelError(
            f"the run's base {base.name} is an adapter, which has no weights of its own to export: "
            "write the whole model with 'skunlearn run RUN/run.yaml --save'"
        )
    from transformers import AutoModelForCausalLM

    progress.note(f"{base.name} has no safetensors: its weights are loaded and written as such first")
    with tempfile.TemporaryDirectory() as scratch:
        trust = options.trust_remote_code
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", trust_remote_code=trust)
        model.save_pretrained(scratch)
        del model
        yield Path(scratch)


def data_sha256(run: Run) -> str:
    """SHA-256 of every prompt and answer of a run's three parts, in order; why there is none, where its data is gone.

    The first 16 digits are the run's own name for its data.
    """
    try:
        return value_sha256(Data(run.forget, run.retain, run.data).fingerprint)
    except SkunlearnError as error:
        return f"unknown: {error!s:.160}"


def weight_hashes(base: Path, progress: Progress) -> dict[str, str]:
    """SHA-256 of the base's weight files by name."""
    patterns = SAFETENSORS if has_safetensors(base) else OLDER
    paths = sorted({path for pattern in patterns for path in base.glob(pattern)})
    return {path.name: file_sha256(path) for path in progress.over("hashing the base", paths)}

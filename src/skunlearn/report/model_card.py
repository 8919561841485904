"""The model card of an export: what was done, what was measured, what it cannot promise."""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from skunlearn.evaluation.metrics.catalog import format_interval, format_score, title
from skunlearn.report.templates import resource
from skunlearn.report.wording import LIMITS, gate_numbers, robustness, verdict_sentence
from skunlearn.utils.files import JsonDict

# The folders of a path that begins at the root or at a home folder.
ABSOLUTE_FOLDERS = re.compile(r"(?:(?<=\s)|^)[/~]\S*.*/")
HUB_LIBRARIES = {  # form of the export -> (library, relation to the base model)
    "merged": ("transformers", "finetune"),
    "adapter": ("peft", "adapter"),
    "gguf": ("gguf", "quantized"),
}


def render(
    facts: JsonDict,
    results: JsonDict,
    attacks: list[JsonDict],
    settings: str,
    wheel: JsonDict | None = None,
) -> str:
    """Return the card as Markdown with the hub's front matter.

    Args:
        facts: the manifest of the export.
        results: the contents of the run's results.json.
        attacks: the rows of attacks.json; empty when the model was not attacked.
        settings: the run file, without the folders of this machine.
        wheel: the PyPI package that the base model comes in (`models.builtin.Wheel`); None for
            other models.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = _cell
    for function in (format_score, format_interval, gate_numbers, title):
        environment.globals[function.__name__] = function
    return environment.from_string(resource("model_card.md")).render(
        front=front_matter(facts, wheel),
        facts=facts,
        wheel=wheel,
        results=results | {"judge": public(results["judge"]), "funnel": public(results["funnel"])},
        settings=settings,
        sentence=verdict_sentence(results),
        attacks=attacks,
        robustness=robustness(attacks),
        limits=LIMITS,
    )


def _cell(text: object) -> str:
    """Return a text that can stand in a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def front_matter(facts: JsonDict, wheel: JsonDict | None = None) -> str:
    """Return what the hub reads as YAML: licence, base model, library, tags."""
    from huggingface_hub import ModelCardData

    library, relation = HUB_LIBRARIES[facts["options"]["format"]]
    name = facts["base"]["name"]
    hub_id = name if "/" in name else None
    if wheel:
        hub_id = wheel["hub"]
    data = ModelCardData(
        license=facts["base"]["licence"],
        base_model=hub_id,
        base_model_relation=relation if hub_id else None,
        library_name=library,
        pipeline_tag="text-generation",
        tags=["unlearning", "safety", "skunlearn"],
    )
    return data.to_yaml()


def public_name(name: str) -> str:
    """Return the name of a model, file or method without the folders of this machine."""
    path, colon, rest = name.partition(":")
    is_path = Path(path).is_absolute() or path.startswith("~") or Path(path).exists()
    return f"{Path(path).name}{colon}{rest}" if is_path else name


def public(value: Any) -> Any:
    """Return a JSON value in which no text names the folders of this machine."""
    if isinstance(value, str):
        return ABSOLUTE_FOLDERS.sub("", public_name(value))
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return value

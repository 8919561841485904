"""The model card of an export: what was done, what was measured, what it cannot promise."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from skunlearn.evaluation.metrics.catalog import format_interval, format_score, title
from skunlearn.report.wording import LIMITS, gate_numbers, robustness, verdict_sentence
from skunlearn.utils.files import JsonDict

ABSOLUTE = re.compile(
    r"(?:(?<=\s)|^)[/~]\S*.*/"
)  # the folders of a path that begins at the root or at home
LIBRARIES = {
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
    """The card as Markdown with the hub's front matter.

    Args:
        facts: the manifest's.
        results: of the run.
        attacks: rows of attacks.json; none when it was not attacked.
        settings: the run file, without this machine's folders.
        wheel: the PyPI package that the base comes in (`models.builtin.Wheel`); None for other
            models.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = lambda text: " ".join(str(text).split()).replace("|", "\\|")
    environment.globals |= {
        function.__name__: function
        for function in (format_score, format_interval, gate_numbers, title)
    }
    template = environment.from_string(
        files("skunlearn.report").joinpath("model_card.md").read_text(encoding="utf-8")
    )
    return template.render(
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


def front_matter(facts: JsonDict, wheel: JsonDict | None = None) -> str:
    """What the hub reads: licence, base, library, tags."""
    from huggingface_hub import ModelCardData

    library, relation = LIBRARIES[facts["options"]["format"]]
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
    """A model, file or method without the folders of this machine."""
    path, colon, rest = name.partition(":")
    is_path = Path(path).is_absolute() or path.startswith("~") or Path(path).exists()
    return f"{Path(path).name}{colon}{rest}" if is_path else name


def public(value: Any) -> Any:
    """A text, or a tree with all its texts, without the folders of this machine."""
    if isinstance(value, str):
        return ABSOLUTE.sub("", public_name(value))
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    return [public(item) for item in value] if isinstance(value, list | tuple) else value

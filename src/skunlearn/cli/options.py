"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

RunFile = Annotated[
    Path | None,
    typer.Argument(help="A YAML run file with the fields of --set.", show_default=False),
]
Model = Annotated[
    str | None,
    typer.Option(help="Built-in name, folder, GGUF or hub id.", show_default="smollm2-135m"),
]
Forget = Annotated[
    str | None,
    typer.Option(help="Forget set: file, named source or hub id.", show_default="built in"),
]
Retain = Annotated[
    str | None,
    typer.Option(help="Retain set: file, named source or hub id.", show_default="built in"),
]
MethodName = Annotated[
    str | None, typer.Option("--method", help="Name, or FILE.py:Class.", show_default="sku")
]
Refuse = Annotated[
    bool | None,
    typer.Option(
        "--refuse/--no-refuse",
        help="Also teach refusals, where the method negates.",
        show_default="refuse",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Named settings: default, published, refusal-only, selective.", show_default=False
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any option as section.key=value; may be repeated."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder.", show_default=False)]
Processes = Annotated[
    int, typer.Option(min=1, help="Train with so many processes on this machine.")
]
Save = Annotated[bool, typer.Option("--save", help="Write the edited checkpoint to OUT/model.")]
Job = Any  # a skunlearn.config.Run, which is not imported before it is needed
Gate = Annotated[bool, typer.Option("--gate", help="Exit with 1 when the verdict is FAIL.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def make(
    file: Path | None,
    model: str | None,
    forget: str | None,
    retain: str | None,
    method: str | None,
    sets: list[str] | None,
    refuse: bool | None = None,
    preset: str | None = None,
) -> Job:
    """The run that the options ask for: the preset first, then the file, then the named options,
    then --set."""
    from skunlearn.utils.errors import ConfigError
    from skunlearn.utils.settings import merged, read_run, with_sets
    from skunlearn.workflows.config import make_run
    from skunlearn.workflows.presets import read_preset

    tree = merged(read_preset(preset) if preset else {}, read_run(file) if file else {})
    tree |= {
        k: v for k, v in (("model", model), ("forget", forget), ("retain", retain)) if v is not None
    }
    tree = merged(tree, {"method": method}) if method else tree
    named = [] if refuse is None else [f"refuse.weight={float(refuse)}"]
    run = make_run(with_sets(tree, [*named, *(sets or [])]))
    if refuse and run.make_method().edit_scale > 0:
        raise ConfigError(
            f"--refuse stands beside methods that negate, and {run.method_name} does not: leave it out"
        )
    return run


def words(
    file: Path | None,
    model: str | None,
    forget: str | None,
    retain: str | None,
    method: str | None,
    sets: list[str] | None,
    refuse: bool | None = None,
    preset: str | None = None,
) -> list[str]:
    """The words that these options were."""
    named = {"model": model, "forget": forget, "retain": retain, "method": method, "preset": preset}
    found = [str(file)] if file else []
    found += [
        word for name, value in named.items() if value is not None for word in (f"--{name}", value)
    ]
    found += [] if refuse is None else ["--refuse" if refuse else "--no-refuse"]
    return found + [word for text in sets or [] for word in ("--set", text)]

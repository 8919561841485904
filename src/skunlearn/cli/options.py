"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from skunlearn.utils.consent import allowing, name_here

RunFile = Annotated[
    Path | None,
    typer.Argument(
        help="A YAML run file, whose fields are those of --set, or a run folder that has one.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(help="Built-in name, folder, GGUF file or hub id.", show_default="smollm2-135m"),
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
    str | None,
    typer.Option("--method", help="Name of the method, or FILE.py:Class.", show_default="sku"),
]
Refuse = Annotated[
    bool | None,
    typer.Option(
        "--refuse/--no-refuse",
        help="Also train refusals, with methods whose task vector is negated.",
        show_default="refuse",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Named settings: default, contrast, published, refusal-only, selective.",
        show_default=False,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any option as section.key=value; may be repeated."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder.", show_default=False)]
Processes = Annotated[
    int, typer.Option(min=1, help="Number of processes that train on this machine.")
]
Save = Annotated[bool, typer.Option("--save", help="Write the edited checkpoint to OUT/model.")]
Gate = Annotated[bool, typer.Option("--gate", help="Exit with code 1 when the verdict is FAIL.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def _allow_code(context: typer.Context, value: bool) -> bool:
    """Allow the classes that a run folder names, until the command ends."""
    context.with_resource(allowing(code=value))
    return value


def _allow_remote_code(context: typer.Context, value: bool) -> bool:
    """Allow the code of the models that a run folder trusts, until the command ends."""
    context.with_resource(allowing(remote_code=value))
    return value


def _allow_judge(context: typer.Context, value: str | None) -> str | None:
    """Allow a judge by its name, until the command ends."""
    context.with_resource(allowing(judge=value))
    return value


AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        callback=_allow_code,
        help="Run the FILE.py:Class that a run folder names; read the file first.",
    ),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        callback=_allow_remote_code,
        help="Run the code of the model, where a run folder says load.trust_remote_code.",
    ),
]
SameJudge = Annotated[
    str | None,
    typer.Option(
        callback=_allow_judge,
        help="The run's judge, named again where it is an address that gets your key.",
        show_default=False,
    ),
]

Job = Any  # a skunlearn.workflows.config.Run, which is imported only when it is needed


@dataclass(frozen=True)
class RunOptions:
    """The options that describe a run, as they were given on the command line.

    Attributes:
        file: a YAML run file.
        model: built-in name, folder, GGUF file or hub id.
        forget: the forget set.
        retain: the retain set.
        method: name of the method, or "FILE.py:Class".
        sets: texts of `--set`.
        refuse: whether refusals are trained too; None when the option was not given.
        preset: name of a preset.
    """

    file: Path | None = None
    model: str | None = None
    forget: str | None = None
    retain: str | None = None
    method: str | None = None
    sets: list[str] | None = None
    refuse: bool | None = None
    preset: str | None = None

    def make_run(self) -> Job:
        """Return the run that these options describe.

        The preset is read first. The file, the named options and `--set` follow, each replacing
        what was set before.

        Raises:
            ConfigError: when an option cannot be used.
        """
        from skunlearn.utils.errors import ConfigError
        from skunlearn.utils.settings import merged, read_run, with_sets
        from skunlearn.workflows.config import make_run
        from skunlearn.workflows.presets import read_preset

        name_here([self.method, with_sets({}, self.sets or [])])
        preset = read_preset(self.preset) if self.preset else {}
        tree = merged(preset, read_run(self.run_file) if self.run_file else {})
        tree |= self._model_and_data()
        if self.method:
            tree = merged(tree, {"method": self.method})
        sets = [] if self.refuse is None else [f"refuse.weight={float(self.refuse)}"]
        sets += self.sets or []
        run = make_run(with_sets(tree, sets))
        if self.refuse and run.make_method().edit_scale > 0:
            raise ConfigError(
                f"--refuse goes with methods whose task vector is negated, and that of "
                f"{run.method_name} is not: leave it out"
            )
        return run

    @property
    def run_file(self) -> Path | None:
        """The YAML file; that of the folder where a run folder is given."""
        return self.file / "run.yaml" if self.file and self.file.is_dir() else self.file

    def words(self) -> list[str]:
        """Return these options as words of a command."""
        found = [str(self.file)] if self.file else []
        for name, value in self._model_and_data().items():
            found += [f"--{name}", value]
        if self.method is not None:
            found += ["--method", self.method]
        if self.preset is not None:
            found += ["--preset", self.preset]
        if self.refuse is not None:
            found.append("--refuse" if self.refuse else "--no-refuse")
        for text in self.sets or []:
            found += ["--set", text]
        return found

    def _model_and_data(self) -> dict[str, str]:
        """Return model, forget set and retain set where they were given."""
        return given(model=self.model, forget=self.forget, retain=self.retain)


def given(**options: str | None) -> dict[str, str]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}

"""`skunlearn export`."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from skunlearn.cli import options as o
from skunlearn.cli.progress import terminal_progress


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="The new folder; it replaces an earlier export.")],
    format: Annotated[str, typer.Option(help="merged, adapter or gguf.")] = "merged",
    alpha: Annotated[
        float | None,
        typer.Option(help="Strength of the edit, 0 or more.", show_default="the run's"),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16, float16; q8_0 for gguf.",
            show_default="that of the base; gguf: float16",
        ),
    ] = None,
    rank: Annotated[int, typer.Option(help="Rank of an adapter from a dense task vector.")] = 64,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
    json: o.Json = False,
) -> None:
    """Write the edited model as a checkpoint, a PEFT adapter or a GGUF file, with model card and
    hashes."""
    from skunlearn.export.base import ExportOptions

    chosen: Any = {"format": format, "alpha": alpha, "dtype": dtype, "rank": rank}
    options = ExportOptions(**chosen)
    from skunlearn.workflows.export import export as write

    manifest = write(run, out, options, terminal_progress())
    if json:
        print(json_module.dumps(manifest | {"out": str(out)}))
        return
    for name, fact in manifest["files"].items():
        print(f"{fact['bytes']:>14,}  {name}")
    error = manifest.get("relative_error", 0)
    if error > 1e-5:
        print(f"relative error of the adapter: {error:.3f} (rank {manifest['rank']})")
    exported_alpha = manifest["options"]["alpha"]
    measured_alpha = manifest["measured_alpha"]
    verdict = manifest["verdict"]
    if exported_alpha != measured_alpha:
        verdict = f"NOT MEASURED ({verdict} at {measured_alpha:g})"
    print(f"\n{verdict}   strength {exported_alpha:g}\nexport  {out}")

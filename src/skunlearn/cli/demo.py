"""`skunlearn demo`."""

from pathlib import Path

from skunlearn.cli import options as o
from skunlearn.cli.run import run


def demo(
    out: o.Out = Path("runs/demo"),
    refuse: o.Refuse = None,
    sets: o.Sets = None,
    save: o.Save = False,
    gate: o.Gate = False,
    json: o.Json = False,
    processes: o.Processes = 1,
) -> None:
    """Run the whole job with the built-in model and data."""
    run(
        model="smollm2-135m",
        out=out,
        refuse=refuse,
        sets=sets,
        save=save,
        gate=gate,
        json=json,
        processes=processes,
    )

"""`skunlearn plan`."""

import json as json_module
from dataclasses import asdict
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli.progress import terminal_progress


def plan(
    file: o.RunFile = None,
    model: o.Model = None,
    forget: o.Forget = None,
    retain: o.Retain = None,
    method: o.MethodName = None,
    refuse: o.Refuse = None,
    preset: o.Preset = None,
    sets: o.Sets = None,
    device_memory: Annotated[
        str | None,
        typer.Option(
            help="Show what fits a device of this memory (24GB); reads only the config.json."
        ),
    ] = None,
    devices: Annotated[
        int, typer.Option(min=1, help="With --device-memory: the number of such devices.")
    ] = 8,
    device_tflops: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            help="With --device-memory: speed in matrix products.",
            show_default="measured here",
        ),
    ] = None,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
    json: o.Json = False,
) -> None:
    """Show what a run would do: data, one example as the model sees it, memory and time; or what
    fits a device."""
    options = o.RunOptions(file, model, forget, retain, method, sets, refuse, preset)
    run = options.make_run()
    from skunlearn.data.dataset import Data
    from skunlearn.models.loading import load
    from skunlearn.workflows.planning.device_fit import Device, bytes_of, fit_device
    from skunlearn.workflows.planning.plan import Plan, make_plan
    from skunlearn.workflows.planning.training_choice import DeviceFit

    found: Plan | DeviceFit
    data = Data(run.forget, run.retain, run.data)
    if device_memory is None:
        lm = load(run.model, run.load, terminal_progress(), nf4=run.lora.nf4)
        found = make_plan(lm, data, run.make_method(), run)
    else:
        flops = None if device_tflops is None else device_tflops * 1e12
        device = Device(bytes_of(device_memory), devices, flops, on_cpu=run.load.device == "cpu")
        found = fit_device(run, data, device, options.words(), terminal_progress())
    print(json_module.dumps(asdict(found)) if json else found)

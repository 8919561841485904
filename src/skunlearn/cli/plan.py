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
        typer.Option(help="What fits such a device (24GB), from the model's config.json alone."),
    ] = None,
    devices: Annotated[
        int, typer.Option(min=1, help="With --device-memory: how many there are.")
    ] = 8,
    device_tflops: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Its speed in matrix products.", show_default="measured here"),
    ] = None,
    json: o.Json = False,
) -> None:
    """What a run would do: data, one example as the model sees it, memory and time; or what fits a
    device."""
    job = o.make(file, model, forget, retain, method, sets, refuse, preset)
    from skunlearn.data.dataset import Data
    from skunlearn.models.loading import load
    from skunlearn.workflows.planning.device_fit import Device, DeviceFit, bytes_of, fit_device
    from skunlearn.workflows.planning.plan import Plan, make_plan

    made: Plan | DeviceFit
    data = Data(job.forget, job.retain, job.data)
    if device_memory is None:
        made = make_plan(
            load(job.model, job.load, terminal_progress(), nf4=job.lora.nf4),
            data,
            job.make_method(),
            job,
        )
    else:
        flops = None if device_tflops is None else device_tflops * 1e12
        device = Device(bytes_of(device_memory), devices, flops, on_cpu=job.load.device == "cpu")
        words = o.words(file, model, forget, retain, method, sets, refuse, preset)
        made = fit_device(job, data, device, words, terminal_progress())
    print(json_module.dumps(asdict(made)) if json else made)

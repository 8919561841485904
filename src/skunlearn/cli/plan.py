"""`skunlearn plan`."""

import json as json_module
from dataclasses import asdict

from skunlearn.cli import options as o
from skunlearn.cli import show


def plan(
    file: o.RunFile = None,
    model: o.Model = None,
    forget: o.Forget = None,
    retain: o.Retain = None,
    method: o.MethodName = None,
    refuse: o.Refuse = None,
    preset: o.Preset = None,
    sets: o.Sets = None,
    json: o.Json = False,
) -> None:
    """What a run would do: data, one example as the model sees it, memory and time."""
    job = o.make(file, model, forget, retain, method, sets, refuse, preset)
    from skunlearn.data.load import Data
    from skunlearn.lm.model import load
    from skunlearn.plan import make_plan

    data, chosen = Data(job.forget, job.retain, job.data), job.make_method()
    made = make_plan(load(job.model, job.load, show.progress()), data, chosen, job)
    print(json_module.dumps(asdict(made)) if json else made)

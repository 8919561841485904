"""`skunlearn doctor`."""

import json as json_module
import sys
from dataclasses import asdict

from skunlearn.cli import options as o
from skunlearn.cli import tables


def doctor(json: o.Json = False) -> None:
    """Check the set-up: versions, device, memory, disk, cache, hub; exit code 1 when something is
    wrong."""
    from skunlearn.workflows.doctor import diagnose

    checks = diagnose()
    bad = sum(check.state == "bad" for check in checks)
    if json:
        print(json_module.dumps({"ok": not bad, "checks": list(map(asdict, checks))}))
    else:
        for check in checks:
            fix = f"; {check.fix}" if check.fix else ""
            tables.state(check.state, f"{check.name}: {check.text}{fix}")
        print(f"\n{bad} to fix" if bad else "\nready: skunlearn demo")
    if bad:
        sys.exit(1)

"""`skunlearn doctor`."""

import json as json_module
import sys
from dataclasses import asdict

from skunlearn.cli import options as o
from skunlearn.cli import tables


def doctor(json: o.Json = False) -> None:
    """Check the set-up: versions, device, memory, disk, cache, hub; exit code 1 when something is
    bad."""
    from skunlearn.workflows.doctor import diagnose

    checks = diagnose()
    bad = sum(check.state == "bad" for check in checks)
    if json:
        print(json_module.dumps({"ok": not bad, "checks": [asdict(check) for check in checks]}))
    else:
        for check in checks:
            tables.state(
                check.state, f"{check.name}: {check.text}" + (f"; {check.fix}" if check.fix else "")
            )
        print(f"\n{bad} to mend" if bad else "\nready: skunlearn demo")
    if bad:
        sys.exit(1)

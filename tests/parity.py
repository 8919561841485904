"""Our losses against values that other code gave for fixed logits: `python tests/parity.py FILE`.

FILE holds, as JSON, logits [B][T][V] and labels [B][T] of `forget`, `retain` and `alternative`
(position t predicts label t + 1; label -100 is not scored), `hyperparameters`, and `expected`
values by name. For each of these a line `name ours expected relative-error` is printed. The exit
code is 1 when one differs by more than 1e-4 or is not known.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from skunlearn.methods.base import Method, Scored
from skunlearn.methods.ceu import CEU
from skunlearn.methods.dpo import DPO
from skunlearn.methods.finetune import FineTune
from skunlearn.methods.grad_diff import GradDiff
from skunlearn.methods.gradient_ascent import GradientAscent
from skunlearn.methods.kl_minimisation import KLMinimisation
from skunlearn.methods.negation import Negation
from skunlearn.methods.npo import NPO
from skunlearn.methods.satimp import SatImp
from skunlearn.methods.simnpo import SimNPO
from skunlearn.methods.sku import SKU
from skunlearn.methods.wga import WGA

TOLERANCE = 1e-4
ROWS = {"forget": "forget", "retain": "retain", "refusal": "alternative"}  # role -> key of the file
METHODS: dict[str, tuple[Callable[[dict[str, float]], Method], str | None]] = {
    # name in `expected` -> the method, and its term (all of them when None)
    "answer_nll_forget": (lambda h: Negation(), "forget"),
    "ceu_forget": (lambda h: CEU(skip=int(h["ceu_skip"])), "forget"),
    "dpo_forget": (lambda h: DPO(beta=h["dpo_beta"]), "preference"),
    "grad_diff": (lambda h: GradDiff(), None),
    "gradient_ascent": (lambda h: GradientAscent(), "forget"),
    "kl_reference_model_retain": (lambda h: KLMinimisation(), "retain"),
    "npo_forget": (lambda h: NPO(beta=h["npo_beta"]), "forget"),
    "retain_nll": (lambda h: FineTune(), "retain"),
    "satimp_forget": (
        lambda h: SatImp(saturation=h["satimp_beta1"], importance=h["satimp_beta2"]),
        "forget",
    ),
    "simnpo_forget": (
        lambda h: SimNPO(beta=h["simnpo_beta"], delta=h["simnpo_delta"], forget_weight=1.0),
        "forget",
    ),
    "sku_pd": (lambda h: SKU(pd_mode="diverge", pd_cap=math.inf), "pd"),
    "wga_forget": (lambda h: WGA(alpha=h["wga_beta"]), "forget"),
}


def scored(rows: dict[str, Any]) -> Scored:
    """Of the logits that predict a label, those whose label is scored."""
    labels_BT = torch.tensor(rows["labels"])[:, 1:]
    is_scored_BT = labels_BT != -100
    logits_NV, base_logits_NV = (
        torch.tensor(rows[name])[:, :-1][is_scored_BT] for name in ("logits", "reference_logits")
    )
    row_N = is_scored_BT.nonzero()[:, 0]
    return Scored(logits_NV, labels_BT[is_scored_BT], row_N, base_logits_NV)


def ours(name: str, values: dict[str, Any]) -> float:
    """Our value of an expected one.

    Raises:
        KeyError: for a name that is not known, or a part of the file that it needs and that is not
            there.
    """
    make, term = METHODS[name]
    method = make(values.get("hyperparameters", {}))
    terms = method.loss({role: scored(values[ROWS[role]]) for role in method.roles})
    return float(torch.stack(list(terms.values())).sum() if term is None else terms[term])


def main(arguments: list[str]) -> int:
    """Print the lines; the exit code."""
    if len(arguments) != 1:
        print("usage: python tests/parity.py FILE", file=sys.stderr)
        return 2
    values = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    failed = False
    for name, expected in values["expected"].items():
        try:
            value = ours(name, values)
        except KeyError as missing:
            why = "unknown" if name not in METHODS else f"without-{missing.args[0]}"
            print(f"{name} {why} {expected} -")
            failed = True
            continue
        error = abs(value - expected) / max(abs(expected), 1e-12)
        print(f"{name} {value:.9g} {expected:.9g} {error:.2e}")
        failed = failed or not error <= TOLERANCE  # so that nan fails too
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

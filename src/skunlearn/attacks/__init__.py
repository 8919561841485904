"""Attacks on an edited model, one file each, with the table of their names and the suites."""

from typing import TYPE_CHECKING, Any

from skunlearn.utils.lazy import lazy_names

if TYPE_CHECKING:
    from skunlearn.attacks.base import Attack as Attack
    from skunlearn.attacks.base import Situation as Situation
    from skunlearn.attacks.base import Situations as Situations
    from skunlearn.attacks.base import Target as Target
    from skunlearn.attacks.base import disguised as disguised

ATTACKS = {
    "ablation": "skunlearn.attacks.ablation:Ablation",
    "gcg": "skunlearn.attacks.gcg:Gcg",
    "jailbreaks": "skunlearn.attacks.jailbreaks:Jailbreaks",
    "mirror": "skunlearn.attacks.mirror:Mirror",
    "prefill": "skunlearn.attacks.prefill:Prefill",
    "quantise": "skunlearn.attacks.quantise:Quantise",
    "relearn": "skunlearn.attacks.relearn:Relearn",
    "relearn-benign": "skunlearn.attacks.relearn:RelearnBenign",
    "relearn-half": "skunlearn.attacks.relearn:RelearnHalf",
    "soft-prompt": "skunlearn.attacks.soft_prompt:SoftPrompt",
    "system-prompt": "skunlearn.attacks.system_prompt:SystemPrompt",
}

# suite -> attack -> options that differ from the attack's own defaults
SUITES: dict[str, dict[str, dict[str, Any]]] = {
    "default": {
        "mirror": {},
        "prefill": {},
        "quantise": {},
        "jailbreaks": {},
        "relearn": {},
        "relearn-benign": {},
    },
    "full": {
        "mirror": {},
        "prefill": {},
        "system-prompt": {},
        "quantise": {"forms": ["int8", "nf4", "q8_0", "q4_0", "q4_1"]},
        "jailbreaks": {"templates": ["all"]},
        "ablation": {},
        "relearn": {"examples": [10, 50, 100]},
        "relearn-half": {},
        "relearn-benign": {"on": ["edited", "base"]},
        "soft-prompt": {},
        "gcg": {},
    },
}

# What an attack in a file of one's own imports.
__getattr__ = lazy_names(
    __name__,
    {
        "Attack": "skunlearn.attacks.base",
        "Situation": "skunlearn.attacks.base",
        "Situations": "skunlearn.attacks.base",
        "Target": "skunlearn.attacks.base",
        "disguised": "skunlearn.attacks.base",
    },
)

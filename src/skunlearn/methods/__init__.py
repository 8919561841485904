"""Unlearning methods, one file each. `METHODS` maps the names in a run file to the classes."""

from typing import TYPE_CHECKING

from skunlearn.utils.lazy import lazy_names

if TYPE_CHECKING:
    from skunlearn.methods.base import Method as Method
    from skunlearn.methods.base import Scored as Scored
    from skunlearn.methods.base import check_options as check_options
    from skunlearn.methods.base import kl_terms as kl_terms
    from skunlearn.methods.base import nll_terms as nll_terms


METHODS = {
    "ceu": "skunlearn.methods.ceu:CEU",
    "circuit_breakers": "skunlearn.methods.circuit_breakers:CircuitBreakers",
    "dpo": "skunlearn.methods.dpo:DPO",
    "ft": "skunlearn.methods.finetune:FineTune",
    "ga": "skunlearn.methods.gradient_ascent:GradientAscent",
    "ga_mismatch": "skunlearn.methods.ga_mismatch:GAMismatch",
    "gated_refusal": "skunlearn.methods.gated_refusal:GatedRefusal",
    "grad_diff": "skunlearn.methods.grad_diff:GradDiff",
    "idk_dpo": "skunlearn.methods.dpo:IdkDPO",
    "idk_nll": "skunlearn.methods.idk_nll:IdkNLL",
    "kl_min": "skunlearn.methods.kl_minimisation:KLMinimisation",
    "negation": "skunlearn.methods.negation:Negation",
    "npo": "skunlearn.methods.npo:NPO",
    "pdu": "skunlearn.methods.pdu:PDU",
    "refusal": "skunlearn.methods.refusal:Refusal",
    "rmu": "skunlearn.methods.rmu:RMU",
    "safe_unlearning": "skunlearn.methods.safe_unlearning:SafeUnlearning",
    "satimp": "skunlearn.methods.satimp:SatImp",
    "simnpo": "skunlearn.methods.simnpo:SimNPO",
    "sku": "skunlearn.methods.sku:SKU",
    "sku_contrast": "skunlearn.methods.sku_contrast:SKUContrast",
    "undial": "skunlearn.methods.undial:UNDIAL",
    "wga": "skunlearn.methods.wga:WGA",
}

__getattr__ = lazy_names(
    __name__,
    {
        "Method": "skunlearn.methods.base",
        "Scored": "skunlearn.methods.base",
        "check_options": "skunlearn.methods.base",
        "kl_terms": "skunlearn.methods.base",
        "nll_terms": "skunlearn.methods.base",
    },
)  # what extensions import

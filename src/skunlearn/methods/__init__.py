"""Unlearning methods, one file each, and the table of their names."""

METHODS = {
    "refusal": "skunlearn.methods.refusal:Refusal",
    "sku": "skunlearn.methods.sku:SKU",
}

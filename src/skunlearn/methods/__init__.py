"""Unlearning methods, one file each, and the table of their names."""

METHODS = {
    "sku": "skunlearn.methods.sku:SKU",
}

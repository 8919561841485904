"""Examples, splits by prompt, templates and batches."""

"""Data files become examples, splits by prompt, token ids and batches."""

"""results.json -> one self-contained page. Nothing here imports torch."""

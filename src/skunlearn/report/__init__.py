"""Pages, figures and the model card, made from results.json. Nothing here imports torch."""

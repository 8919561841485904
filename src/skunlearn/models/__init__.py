"""Language models: load, run on scored tokens, generate, edit."""

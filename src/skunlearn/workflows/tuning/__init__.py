"""The search for the settings of a trained run."""

"""Metrics: what completions and likelihoods say, as scores with intervals."""

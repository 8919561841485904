"""Helpers that are not about unlearning: errors, settings, files, hashes, progress, processes."""

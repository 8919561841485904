"""What knows nothing of unlearning: errors, the registry, files, hashes, settings, processes."""

"""One file for each command: what it does, in a run folder, resumable."""

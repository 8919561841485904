"""Training: from a method and data to a task vector."""

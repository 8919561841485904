"""The one training loop, in -> a method, out -> a task vector."""

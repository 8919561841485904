"""What leaves the tool: a checkpoint, an adapter or a GGUF file, with its card and hashes; verify
and push."""

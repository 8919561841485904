"""What leaves the tool: an edited checkpoint, an adapter or a GGUF file, with its manifest."""

"""Task vectors: weight differences that are added, scaled, applied and filtered."""

"""Task vectors: sums and multiples of weight differences, applied for a while, made more selective
by filters."""

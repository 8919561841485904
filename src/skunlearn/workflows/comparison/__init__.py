"""Several methods under one harness, one table."""

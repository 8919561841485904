"""One model measured: answers, judges, metrics, gates, the strength, base against edited."""

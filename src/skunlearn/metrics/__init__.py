"""Metrics: what completions and likelihoods say, as scores with intervals.

A metric is a function from a `Subject` to named scores: one file, one line here. `METRICS` maps the names that
`evaluate.metrics` takes; "file.py:function" works too.
"""

METRICS = {
    "rates": "skunlearn.metrics.rates:rates",
    "likelihood": "skunlearn.metrics.likelihood:likelihood",
    "similarity": "skunlearn.metrics.similarity:similarity",
    "overlap": "skunlearn.metrics.overlap:overlap",
    "diversity": "skunlearn.metrics.diversity:diversity",
    "text": "skunlearn.metrics.text:text",
    "choice": "skunlearn.metrics.choice:choice",
    "memory": "skunlearn.metrics.memory:memory",
    "membership": "skunlearn.metrics.membership:membership",
}
BASIC = ("rates", "likelihood", "similarity")

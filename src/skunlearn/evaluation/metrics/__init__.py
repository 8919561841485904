"""Metrics: what completions and likelihoods say, as scores with intervals.

A metric is a function from a `Subject` to named scores: one file, one line here. `METRICS` maps the
names that `evaluate.metrics` takes; "file.py:function" works too.
"""

from typing import TYPE_CHECKING

from skunlearn.utils.lazy import lazy_names

if TYPE_CHECKING:
    from skunlearn.evaluation.metrics.base import Score as Score
    from skunlearn.evaluation.metrics.base import Subject as Subject
    from skunlearn.evaluation.metrics.base import mean_score as mean_score


METRICS = {
    "rates": "skunlearn.evaluation.metrics.rates:rates",
    "likelihood": "skunlearn.evaluation.metrics.likelihood:likelihood",
    "similarity": "skunlearn.evaluation.metrics.similarity:similarity",
    "overlap": "skunlearn.evaluation.metrics.rouge:overlap",
    "diversity": "skunlearn.evaluation.metrics.diversity:diversity",
    "text": "skunlearn.evaluation.metrics.plain_text:text",
    "choice": "skunlearn.evaluation.metrics.multiple_choice:choice",
    "memory": "skunlearn.evaluation.metrics.memorisation:memory",
    "membership": "skunlearn.evaluation.metrics.membership:membership",
}
BASIC = ("rates", "likelihood", "similarity")

__getattr__ = lazy_names(
    __name__,
    {
        "Score": "skunlearn.evaluation.metrics.base",
        "Subject": "skunlearn.evaluation.metrics.base",
        "mean_score": "skunlearn.evaluation.metrics.base",
    },
)  # what extensions import

"""Filters: each makes one more selective task vector out of one or several.

`FILTERS` maps the names in a run file to the classes.
"""

from typing import TYPE_CHECKING

from skunlearn.utils.lazy import lazy_names

if TYPE_CHECKING:
    from skunlearn.task_vectors.filters.base import Context as Context
    from skunlearn.task_vectors.filters.base import Filter as Filter
    from skunlearn.task_vectors.filters.base import only as only


FILTERS = {
    "mean": "skunlearn.task_vectors.filters.mean:Mean",
    "trim": "skunlearn.task_vectors.filters.trim:Trim",
    "ties": "skunlearn.task_vectors.filters.ties:Ties",
    "negmerge": "skunlearn.task_vectors.filters.negmerge:NegMerge",
    "dare": "skunlearn.task_vectors.filters.dare:Dare",
    "conditional": "skunlearn.task_vectors.filters.conditional:Conditional",
    "low_rank": "skunlearn.task_vectors.filters.low_rank:LowRankOnly",
    "collapse": "skunlearn.task_vectors.filters.collapse:Collapse",
    "null_space": "skunlearn.task_vectors.filters.null_space:NullSpace",
    "fisher": "skunlearn.task_vectors.filters.fisher:Fisher",
    "mask": "skunlearn.task_vectors.filters.mask:Mask",
}

__getattr__ = lazy_names(
    __name__,
    {
        "Context": "skunlearn.task_vectors.filters.base",
        "Filter": "skunlearn.task_vectors.filters.base",
        "only": "skunlearn.task_vectors.filters.base",
    },
)  # what extensions import

"""Filters: from one or several task vectors to one that is more selective. `FILTERS` maps names to classes."""

FILTERS = {
    "mean": "skunlearn.task_vectors.filters.mean:Mean",
    "trim": "skunlearn.task_vectors.filters.trim:Trim",
    "ties": "skunlearn.task_vectors.filters.ties:Ties",
    "negmerge": "skunlearn.task_vectors.filters.negmerge:NegMerge",
    "dare": "skunlearn.task_vectors.filters.dare:Dare",
    "low_rank": "skunlearn.task_vectors.filters.low_rank:LowRankOnly",
    "collapse": "skunlearn.task_vectors.filters.collapse:Collapse",
    "null_space": "skunlearn.task_vectors.filters.null_space:NullSpace",
    "fisher": "skunlearn.task_vectors.filters.fisher:Fisher",
    "mask": "skunlearn.task_vectors.filters.mask:Mask",
}

"""Filters: from one or several task vectors to one that is more selective. `FILTERS` maps names to classes."""

FILTERS = {
    "mean": "skunlearn.filters.mean:Mean",
    "trim": "skunlearn.filters.trim:Trim",
    "ties": "skunlearn.filters.ties:Ties",
    "negmerge": "skunlearn.filters.negmerge:NegMerge",
    "dare": "skunlearn.filters.dare:Dare",
    "low_rank": "skunlearn.filters.low_rank:LowRankOnly",
    "collapse": "skunlearn.filters.collapse:Collapse",
    "null_space": "skunlearn.filters.null_space:NullSpace",
    "fisher": "skunlearn.filters.fisher:Fisher",
    "mask": "skunlearn.filters.mask:Mask",
}

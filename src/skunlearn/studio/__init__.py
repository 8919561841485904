"""The studio: a local page on which a finished run is tried by hand.

`session` does the work, `page` lays it out, `server` decides who may open it.
"""

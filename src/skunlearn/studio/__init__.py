"""Trying a finished run by hand: `session` does the work, `page` lays it out, `server` lets a
browser in."""

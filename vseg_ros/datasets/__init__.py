"""Data sets on disk as sources of labelled frames, and weather over any of them."""

"""The commands of `vseg`, one a file; `cli.py` puts them together."""

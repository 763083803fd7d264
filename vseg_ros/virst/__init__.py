"""VIRST: a sentence in, a mask track and an answer out; one file a section of the paper."""

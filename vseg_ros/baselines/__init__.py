"""Other published ways to steady an image segmenter, in the same frame loop as the methods."""

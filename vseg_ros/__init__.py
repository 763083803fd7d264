"""Video segmentation for robots: steady labels out of any image segmenter."""

__version__ = '0.1.0'

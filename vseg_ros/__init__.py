"""Video segmentation for robots: steady labels out of any image segmenter."""

import os

# A robot's processor is busy. Threads that spin for long while they wait for each other then hold
# up the one that they wait for (benchmarks/busy.py). OpenMP reads this when torch is loaded; a
# value that is set stands.
os.environ.setdefault('GOMP_SPINCOUNT', '1000')

__version__ = '0.1.0'

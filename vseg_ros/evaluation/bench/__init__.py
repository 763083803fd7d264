"""Speed and memory as ratios in one run, each against the plainest correct version."""

"""Networks that no single paper owns: image segmenters, trackers, their training."""

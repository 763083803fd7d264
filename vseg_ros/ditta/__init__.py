"""DiTTA: an image segmenter becomes a video segmenter at test time, one file a section."""

"""
Video consistency over dense ground truth: mVC8 and mVC16, streaming.

mVC_n looks at windows of n consecutive frames. Of the pixels whose true id is constant over the
window, it takes the share whose predicted id is constant too, right or wrong; the score is the
mean over all windows. As in the VSPW benchmark, an unlabelled pixel counts as constant like any
other id, a window without a constant pixel is left out, and a video of L frames has the L - n
windows that start at frames 0 to L - n - 1 (the one that ends at the last frame is not used).
Eq. 12 of Time2General is the same over L - n + 1 windows, the last one too.

One run-length map for the labels and one for the predictions serve every n, and a frame costs
the same whatever the window. The last window is left out by holding each window back until the
next frame arrives.
"""

from __future__ import annotations

from collections.abc import Sequence

from vseg_ros.evaluation.windows import (
    IdArray,
    RunLength,
    WindowMean,
    check_sizes,
    steady_share,
)


class VideoConsistency:
    """
    mVC_n over the frames of any number of videos.

    Args:
        windows: window lengths n in frames, each 2..256.

    """

    def __init__(self, windows: Sequence[int] = (8, 16)) -> None:
        self._windows = tuple(windows)
        self.mean = WindowMean(self._windows)
        self.end_video()

    def end_video(self) -> None:
        """Let no window reach from the frames so far into those to come."""
        self._runs: tuple[RunLength, RunLength] | None = None
        self._frames = 0
        self._held_back: dict[int, float] = {}

    def add(self, predictions: IdArray, labels: IdArray) -> None:
        """
        Count the next frame of the video.

        Args:
            predictions: unsigned integer [H, W], predicted ids.
            labels: unsigned integer [H, W], true ids, unlabelled pixels included. A change of
                size starts a new video.

        Raises:
            ValueError: the two maps differ in size.

        """
        check_sizes(predictions, labels)
        if self._runs is None or self._runs[0].repeats.shape != labels.shape:
            self.end_video()
            limit = max(self._windows) - 1
            self._runs = RunLength(labels, limit), RunLength(predictions, limit)
        else:
            # The windows that end at the frame before count, now that it is not the last.
            for window, share in self._held_back.items():
                self.mean.add(window, share)
            self._runs[0].add(labels)
            self._runs[1].add(predictions)
        self._frames += 1
        true, predicted = (run.repeats for run in self._runs)
        self._held_back = {n: steady_share(true >= n - 1, predicted >= n - 1)
                           for n in self._windows if self._frames >= n}

    def score(self, window: int) -> float:
        """Return mVC_n of all videos so far, 0..1, or NaN if no video was long enough."""
        return self.mean.score(window)

"""
Figures about a stream of images: rates, latency, and what was dropped, rejected or lost.

A lost image leaves no trace but a gap in the stamps. A regular camera's gaps are multiples of its
period, so `LossDetector` finds the period (a short gap that the others are multiples of) and takes
a gap of n periods for n - 1 lost images. A camera that stops, jumps back in time (a bag played in
a loop), is stamped irregularly or changes its rate has lost nothing: a run of equal long gaps
is a new rate, so a long gap counts only when one of another length follows.
"""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_SECOND = 1_000_000_000
_WINDOW = 5 * _SECOND
_LOG_PERIOD = 5 * _SECOND
_CAMERA_STOPPED = 2 * _SECOND
_GAPS_KEPT = 64
_GAPS_NEEDED = 12
_REGULAR_SHARE = 0.85
_NEW_RATE_AFTER = 5


@dataclass(frozen=True)
class StreamReport:
    """
    A snapshot of a stream.

    Attributes:
        frames_in: images received.
        frames_out: segmentations published.
        frames_dropped: images passed over because a newer one had come.
        frames_rejected: bad images.
        frames_lost: images that the stamps say were sent, but never came.
        input_rate: images received, in Hz, over the last 5 s.
        output_rate: segmentations published, in Hz, over the last 5 s.
        latency_mean: from arrival to publication, in s, over the last 5 s; 0 if there was none.
        latency_max: the longest of these.
        seconds_since_image: since the last image arrived, or since the first report if none
            ever did.
        last_rejection: why the last bad image was rejected; empty if the newest image was not.
        lately_lost: images lost over the last 5 s.

    """

    frames_in: int
    frames_out: int
    frames_dropped: int
    frames_rejected: int
    frames_lost: int
    input_rate: float
    output_rate: float
    latency_mean: float
    latency_max: float
    seconds_since_image: float
    last_rejection: str
    lately_lost: int


class LossDetector:
    """Counts the images that are missing between stamps."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._gaps: deque[int] = deque(maxlen=_GAPS_KEPT)
        # Equal long gaps that end with the newest one: their length, and the images missing.
        self._run_gap = 0
        self._run: list[int] = []

    def lost_before(self, stamp: int) -> int:
        """
        Take the next image's stamp, in ns.

        Returns:
            how many more images are now known to be lost; those of a gap are known once a
            different gap follows.

        """
        gap = 0 if self._last is None else stamp - self._last
        self._last = stamp
        if not 0 < gap <= _CAMERA_STOPPED:
            self._run = []
            return 0
        lost = self._decide(gap)
        self._gaps.append(gap)
        return lost

    def _decide(self, gap: int) -> int:
        period = _period(self._gaps)
        # The part of a period that is taken off keeps a late stamp from counting as a loss.
        missing = 0 if period is None else max(0, math.floor(gap / period - 0.7))
        if missing and self._run and _similar(gap, self._run_gap):
            self._run.append(missing)
            if len(self._run) == _NEW_RATE_AFTER:
                self._run = []
                self._gaps.clear()
            return 0
        lost = sum(self._run)
        self._run_gap, self._run = gap, [missing] if missing else []
        return lost


def _similar(gap: int, other: int) -> bool:
    return max(gap, other) <= 1.3 * min(gap, other)


def _period(gaps: Sequence[int]) -> float | None:
    """Return the period that most gaps are multiples of; None if there is none such."""
    if len(gaps) < _GAPS_NEEDED:
        return None
    period = float(sorted(gaps)[max(2, len(gaps) // 20)])
    for _ in range(3):
        period = statistics.median(gap for gap in gaps if period / 1.5 <= gap <= period * 1.5)
    regular = sum(abs(gap / period - max(1, round(gap / period))) <= 0.25 for gap in gaps)
    return period if regular >= _REGULAR_SHARE * len(gaps) else None


class _Recent:
    """Values of the last seconds, each with its time."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, float]] = deque()

    def add(self, now: int, value: float = 0.0) -> None:
        self._entries.append((now, value))
        self._forget(now)

    def values(self, now: int) -> list[float]:
        self._forget(now)
        return [value for _, value in self._entries]

    def rate(self, now: int) -> float:
        """Entries a second; falls as soon as one is overdue."""
        self._forget(now)
        intervals = len(self._entries) - 1
        if intervals < 1:
            return 0.0
        oldest, newest = self._entries[0][0], self._entries[-1][0]
        span = newest - oldest
        overdue = max(0.0, now - newest - span / intervals)
        return intervals * _SECOND / max(1.0, span + overdue)

    def _forget(self, now: int) -> None:
        while self._entries and self._entries[0][0] < now - _WINDOW:
            self._entries.popleft()


class StreamMonitor:
    """
    Counts what happens to images; any thread may call any method.

    Every `now` is in ns, of one clock that never jumps back; every `stamp` is the header's, in
    ns of whatever clock the camera has.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in = self._out = self._dropped = self._rejected = self._lost = 0
        self._loss = LossDetector()
        self._arrivals, self._latencies, self._losses = _Recent(), _Recent(), _Recent()
        self._since: int | None = None
        self._reason = ''
        self._logged_at: int | None = None

    def received(self, stamp: int, now: int) -> None:
        """Count an image that arrived, good or bad, and those lost before it."""
        with self._lock:
            self._in += 1
            self._since = now
            self._reason = ''
            self._arrivals.add(now)
            lost = self._loss.lost_before(stamp)
            if lost:
                self._lost += lost
                self._losses.add(now, lost)

    def dropped(self) -> None:
        """Count an image that a newer one replaced before its turn."""
        with self._lock:
            self._dropped += 1

    def rejected(self, reason: str, now: int) -> bool:
        """
        Count a bad image.

        Returns:
            True if it is time to log the reason: none was logged within the last 5 s, not even
            another one (a reason may hold a number that is new in every image).

        """
        with self._lock:
            self._rejected += 1
            self._reason = reason
            due = self._logged_at is None or now - self._logged_at >= _LOG_PERIOD
            if due:
                self._logged_at = now
            return due

    def answered(self, received: int, now: int) -> None:
        """Count a published segmentation; `received` is when its image arrived."""
        with self._lock:
            self._out += 1
            self._latencies.add(now, (now - received) / _SECOND)

    def report(self, now: int) -> StreamReport:
        """Return the figures as they are now."""
        with self._lock:
            if self._since is None:
                self._since = now
            latencies = self._latencies.values(now)
            return StreamReport(
                frames_in=self._in, frames_out=self._out, frames_dropped=self._dropped,
                frames_rejected=self._rejected, frames_lost=self._lost,
                input_rate=self._arrivals.rate(now), output_rate=self._latencies.rate(now),
                latency_mean=statistics.fmean(latencies) if latencies else 0.0,
                latency_max=max(latencies, default=0.0),
                seconds_since_image=(now - self._since) / _SECOND,
                last_rejection=self._reason,
                lately_lost=round(sum(self._losses.values(now))))

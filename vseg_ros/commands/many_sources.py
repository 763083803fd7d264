"""
Many sources as one list of videos: patterns such as 'bags/*.mcap', and names that stay apart.

Every source is opened before anything else happens, so that all that do not open are named at
once. A video has its own short name, and the source it comes from where several share a name.
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vseg_ros.commands.sources import SourceFormat, open_videos
from vseg_ros.errors import UserError
from vseg_ros.io.derived_source import DerivedSource
from vseg_ros.io.frame_source import FrameSource, LabelledFrame

_NAMED = 5
"""How many sources that do not open are told with their reason."""


class NamedVideo(DerivedSource):
    """
    Another source under another name; see `FrameSource`.

    Args:
        source: the frames.
        name: what to call it.

    """

    def __init__(self, source: FrameSource, name: str) -> None:
        super().__init__(source)
        self._name = name

    @property
    def name(self) -> str:
        """Its own."""
        return self._name

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read from the first frame."""
        return iter(self.source)


def find_sources(sources: Sequence[str]) -> list[str]:
    """
    Replace patterns by the paths that match them, in natural order; each source once.

    Args:
        sources: paths, `street:` URIs, or patterns with `*`, `?`, `[` or `**`.

    Raises:
        UserError: nothing matches a pattern.

    """
    found: list[str] = []
    for source in sources:
        if not glob.has_magic(source) or Path(source).exists():
            found.append(source)
            continue
        matches = sorted(glob.glob(source, recursive=True), key=_natural)
        if not matches:
            raise UserError(f'nothing matches {source!r}: check the path, and quote the pattern')
        found += matches
    return list(dict.fromkeys(found))


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort numbers in a name by their value: drive2 before drive10."""
    return [(int(part), '') if part.isdecimal() else (-1, part)
            for part in re.split(r'(\d+)', path)]


def open_all(sources: Sequence[str], format: SourceFormat = 'auto', *, split: str | None = None,
             topic: str | None = None, labels: str | None = None,
             classes: str = '') -> list[FrameSource]:
    """
    Open the videos of all sources, by distinct names.

    Args:
        sources: as for `find_sources`.
        format: what each of them is.
        split: as for `open_videos`, like those that follow.
        topic: a bag's camera topic.
        labels: a bag's label topic, or for images the folder of label images.
        classes: name of a class map.

    Raises:
        UserError: some do not open; the line names them.

    """
    opened: list[tuple[str, FrameSource]] = []
    refused: list[str] = []
    found = find_sources(sources)
    for source in found:
        try:
            videos = open_videos(source, format, split=split, topic=topic, labels=labels,
                                 classes=classes)
        except UserError as error:
            if len(found) == 1:
                raise
            refused.append(str(error))
        else:
            opened += [(source, video) for video in videos]
    if refused:
        told = '; '.join(refused[:_NAMED])
        more = f'; and {len(refused) - _NAMED} more' if len(refused) > _NAMED else ''
        raise UserError(f'{len(refused)} of {len(found)} sources do not open: {told}{more}')
    return _with_distinct_names(opened)


def _with_distinct_names(opened: Sequence[tuple[str, FrameSource]]) -> list[FrameSource]:
    """Complete a name that several videos have by its source, then by a number."""
    shared = Counter(video.name for _, video in opened)
    names = [video.name if shared[video.name] == 1 else f'{video.name} of {source}'
             for source, video in opened]
    seen: Counter[str] = Counter()
    videos: list[FrameSource] = []
    for name, (_, video) in zip(names, opened, strict=True):
        seen[name] += 1
        name = name if seen[name] == 1 else f'{name} ({seen[name]})'
        videos.append(video if name == video.name else NamedVideo(video, name))
    return videos

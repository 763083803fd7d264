"""`vseg bag`: a video file, image folder, the synthetic street or a bag's camera as a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from vseg_ros.commands.options import Source, Topic
from vseg_ros.commands.progress import console, progress_bar
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.source import open_source


def bag(source: Source,
        out: Annotated[Path, typer.Argument(help='The bag to write: NAME.mcap, NAME.db3, or a '
                                            'folder.')],
        labels: Annotated[Optional[str], typer.Option(  # noqa: UP045
            help='For a folder of images the folder of label images, one PNG an image; for a bag '
            'the topic of its label images.')] = None,
        fps: Annotated[Optional[float], typer.Option(  # noqa: UP045
            help='Frames a second, where the source has no times of its own.')] = None,
        encoding: Annotated[Literal['jpeg', 'rgb8'], typer.Option(
            help='jpeg writes CompressedImage (small), rgb8 writes Image (exact).')] = 'jpeg',
        topic: Topic = None) -> None:
    """
    Write a ROS 2 bag from a video, an image folder, the synthetic street or another bag.

    The camera is on /camera/image/compressed (or /camera/image), labels on /camera/labels.

    Example: vseg bag drive.mp4 drive.mcap
    """
    frames = open_source(source, topic=topic, labels=labels, fps=fps)
    with progress_bar(f'writing {out}', frames.frame_count) as shown:
        count = write_camera_bag(frames, out, encoding=encoding, on_frame=shown.advance)
    console.print(f'{out}: {count} frames')

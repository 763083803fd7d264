"""Options that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Params = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    '--params', metavar='FILE', help='Settings, a ROS 2 parameter file such as '
    'config/ditta.yaml.')]
Override = Annotated[Optional[list[str]], typer.Option(  # noqa: UP045
    '-p', '--param', metavar='NAME=VALUE', help='One setting, such as -p warmup.frames=30; may '
    'be repeated, and goes before the file.')]
Topic = Annotated[Optional[str], typer.Option(  # noqa: UP045
    help='Image topic of the bag, where it has several.')]
Source = Annotated[str, typer.Argument(
    help='A ROS 2 bag (folder, .mcap or .db3), a video file, a folder of images, or '
    'street:SEED[:FRAMES], the synthetic street.')]
Report = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    metavar='F.html', help='Write a report, one self-contained page.')]
Json = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    '--json', metavar='F.json', help='Write the scores as JSON.')]

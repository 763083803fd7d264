"""`vseg bench`: speed and memory, as ratios in one run, against the plainest correct versions."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from vseg_ros.commands.options import Json, Report
from vseg_ros.settings import SegmenterSettings, Time2GeneralSettings, VirstSettings

SHORTEST_STREAM = 201
"""Memory has settled after 200 frames; what comes after is compared with that."""


def bench(pipelines: Annotated[str, typer.Option(
              help='Names, separated by commas: iss, ditta, time2general, virst, tent, cotta, '
              'auxadapt, refine.')]
          = 'iss,ditta',
          segmenter: Annotated[str, typer.Option(
              help='Image segmenter: a bundled name, or a file written by `vseg train iss`.')]
          = str(SegmenterSettings.model_fields['segmenter'].default),
          weights: Annotated[str, typer.Option(
              help='Weights of Time2General: a bundled name, a file written by `vseg train '
              'time2general`, or `random`.')]
          = str(Time2GeneralSettings.model_fields['weights'].default),
          virst_weights: Annotated[str, typer.Option(
              help='Weights of VIRST: a bundled name, a file written by `vseg train virst`, or '
              '`random`.')]
          = str(VirstSettings.model_fields['weights'].default),
          size: Annotated[str, typer.Option(
              metavar='HxW', help='Size of the frames in pixels, multiples of 32.')] = '256x448',
          frames: Annotated[int, typer.Option(
              min=SHORTEST_STREAM, help='Length of the stream that memory must stay flat over.')]
          = 2000,
          threads: Annotated[Optional[int], typer.Option(  # noqa: UP045
              min=1, help='Threads of the networks; one a core if not given.')] = None,
          seed: Annotated[int, typer.Option(min=0, help='Which street.')] = 0,
          quick: Annotated[bool, typer.Option(
              '--quick', help='Shorter and smaller, for a first look.')] = False,
          report: Report = None, json: Json = None) -> None:
    """
    Measure frames a second, adaptation, add-on and memory, on the processor.

    Time2General and VIRST at the size of a GPU are measured too where there is one.

    Every ratio is taken against the plainest correct version, in turns within this run.

    Example: vseg bench --report bench.html --json bench.json
    """
    # PyTorch is loaded only now, so that `vseg --help` answers at once
    from vseg_ros.commands.bench_run import run

    run(pipelines, segmenter, weights, virst_weights, size, frames, threads, seed, quick, report,
        json)

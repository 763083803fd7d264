"""
Frames a second beside other programs that keep the processor busy.

    python benchmarks/busy.py [--programs N] [--pipelines iss,ditta] [--frames N] [--rounds N]

A robot's processor is never idle. This one runs `--programs` endless loops beside a pipeline, once
with threads that spin for long while they wait for each other, which is OpenMP's habit, and once
with threads that soon sleep, which is what importing vseg_ros asks for. Both are processes of
their own and take turns at the same frames.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.frozen import ditta_settings
from vseg_ros.evaluation.bench.measure import interleave, rates, times_faster
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.pipeline import create_pipeline, require_pipeline
from vseg_ros.settings import PIPELINE_SETTINGS

SIZE = 256, 448
SPINNING, SLEEPING = 300_000, int(os.environ['GOMP_SPINCOUNT'])
"""How often threads look before they sleep: OpenMP's value, and what vseg_ros asks for."""
WARMUP = 4


def serve(name: str) -> None:
    """Run a pipeline: after every line that is read, label so many frames and print seconds."""
    settings = (ditta_settings('driving-b0', 0, WARMUP) if name == 'ditta'
                else PIPELINE_SETTINGS[name](device='cpu', input_size=0))
    pipeline = create_pipeline(name, settings)
    video = street_frames(0, 24, SIZE)
    # The first frames adapt what adapts, and open what is opened late.
    for frame in video[:2 * WARMUP]:
        pipeline.step(frame)
    print('ready', flush=True)
    for line in sys.stdin:
        seconds = []
        for number in range(int(line)):
            start = time.perf_counter()
            pipeline.step(video[number % len(video)])
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


@contextlib.contextmanager
def pipeline_process(name: str, looks: int) -> Iterator[subprocess.Popen[str]]:
    """Start `serve` with threads that look so often before they sleep."""
    command = [sys.executable, __file__, '--serve', name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=os.environ | {'GOMP_SPINCOUNT': str(looks)}) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != 'ready\n':
                raise UserError(f'{name} did not start')
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """Keep so many cores busy."""
    running = [subprocess.Popen([sys.executable, '-c', 'while True: pass'])
               for _ in range(programs)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def turn(process: subprocess.Popen[str], frames: int) -> list[float]:
    """Let a pipeline label frames; return the seconds of each."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(frames, file=process.stdin, flush=True)
    seconds: list[float] = json.loads(process.stdout.readline())
    return seconds


def compare(name: str, programs: int, frames: int, rounds: int) -> dict[str, float]:
    """Return frames a second of both ways of waiting, and their ratio."""
    with (pipeline_process(name, SPINNING) as spinning,
          pipeline_process(name, SLEEPING) as sleeping, busy(programs)):
        times = interleave({'spinning': lambda _: turn(spinning, frames),
                            'sleeping': lambda _: turn(sleeping, frames)}, rounds)
    return {**rates(times['spinning']).flat('spinning_fps'),
            **rates(times['sleeping']).flat('sleeping_fps'),
            **times_faster(times['spinning'], times['sleeping']).flat('sleeping_speedup')}


def main() -> None:
    """Print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--programs', type=int, default=1, help='endless loops (default 1)')
    parser.add_argument('--pipelines', default='iss,ditta,time2general', help='names of them')
    parser.add_argument('--frames', type=int, default=40, help='frames in a turn')
    parser.add_argument('--rounds', type=int, default=3, help='turns of each')
    parser.add_argument('--serve', help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
        return
    try:
        names = [require_pipeline(name) for name in chosen.pipelines.split(',')]
        print(json.dumps({name: compare(name, chosen.programs, chosen.frames, chosen.rounds)
                          for name in names}, indent=2))
    except UserError as error:
        sys.exit(str(error))


if __name__ == '__main__':
    main()

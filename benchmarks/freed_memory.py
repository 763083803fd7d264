"""
What it is worth to keep memory that was freed (`vseg_ros/freed_memory.py`).

    python benchmarks/freed_memory.py [--tasks b5,adaptation] [--rounds N]

Every task runs in two processes that take turns: one keeps what it frees, which is what importing
vseg_ros asks for, and one leaves that to glibc. Printed, as JSON: seconds of both, how many times
faster the first is, pages that the system had to clear each time, and the most memory of both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from turns import TurningProcess, serve

from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.frozen import ditta_settings
from vseg_ros.evaluation.bench.measure import interleave, median_of, times_faster
from vseg_ros.evaluation.bench.questions import QUESTIONS, WINDOW
from vseg_ros.evaluation.bench.scene import FPS, street_frames
from vseg_ros.frame import Frame
from vseg_ros.labels import DRIVING
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segformer import new_segformer
from vseg_ros.pipeline import create_pipeline
from vseg_ros.settings import PIPELINE_SETTINGS, VirstSettings
from vseg_ros.virst.query import VirstQuery

SIZE = 256, 448
WARMUP = 8
KEPT: dict[str, str] = {}
# names glibc's allocator, and changes nothing of it: so vseg_ros leaves it alone
LEFT_TO_GLIBC = {'GLIBC_TUNABLES': 'glibc.malloc.perturb=0'}


def large_segmenter() -> Callable[[int], object]:
    """Label a frame with a SegFormer-B5 of random weights."""
    runtime = TorchRuntime(new_segformer(DRIVING, 'b5').eval().requires_grad_(False),
                           torch.device('cpu'))
    video = street_frames(0, 8, SIZE)
    return lambda number: runtime.infer(video[number % len(video)].image)


def adaptation() -> Callable[[int], object]:
    """Watch a warm-up of eight frames and adapt DiTTA to it."""
    settings = ditta_settings('driving-b0', 0, WARMUP)
    video = street_frames(0, WARMUP, SIZE)

    def warm_up(number: int) -> None:
        pipeline = create_pipeline('ditta', settings)
        for frame in video:
            pipeline.step(frame)
    return warm_up


def frames_of(name: str) -> Callable[[int], object]:
    """Label a frame with a pipeline that learns nothing."""
    pipeline = create_pipeline(name, PIPELINE_SETTINGS[name](device='cpu', input_size=0))
    video = street_frames(0, 24, SIZE)
    return lambda number: pipeline.step(video[number % len(video)])


def question() -> Callable[[int], object]:
    """Ask VIRST for the first time about a window of two seconds."""
    query = VirstQuery(VirstSettings(device='cpu'))
    video = street_frames(0, round(WINDOW * FPS), SIZE)

    def ask(number: int) -> None:
        renewed = [Frame(frame.image, frame.stamp, frame.frame_id) for frame in video]
        query.ask(renewed, QUESTIONS[number % len(QUESTIONS)])
    return ask


TASKS: dict[str, tuple[Callable[[], Callable[[int], object]], int]] = {
    'b5': (large_segmenter, 5), 'adaptation': (adaptation, 1), 'question': (question, 1),
    'iss': (lambda: frames_of('iss'), 30), 'time2general': (lambda: frames_of('time2general'), 30)}
"""Name of a task -> what makes it ready, and how often it is done in a turn."""


def statistics_of(process: TurningProcess) -> tuple[int, float]:
    """Pages that a process was given so far, and the most MiB it held."""
    folder = Path('/proc') / str(process.pid)
    faults = int((folder / 'stat').read_text().rsplit(')', 1)[1].split()[7])
    status = (folder / 'status').read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))
    return faults, peak / 1024


def compare(name: str, rounds: int) -> dict[str, float]:
    """Return the figures of both ways for one task."""
    times = TASKS[name][1]
    with (TurningProcess(__file__, name, KEPT) as kept,
          TurningProcess(__file__, name, LEFT_TO_GLIBC) as left):
        both = {'kept': kept, 'left': left}
        for process in both.values():
            process.turn(times)
        before = {way: statistics_of(process)[0] for way, process in both.items()}
        seconds = interleave({'kept': lambda _: kept.turn(times),
                              'left': lambda _: left.turn(times)}, rounds)
        after = {way: statistics_of(process) for way, process in both.items()}
    figures = times_faster(seconds['left'], seconds['kept']).flat('speedup')
    for way, (faults, peak) in after.items():
        figures[f'{way}_seconds'] = median_of(seconds[way])
        figures[f'{way}_pages'] = (faults - before[way]) / (rounds * times)
        figures[f'{way}_peak_mib'] = peak
    return figures


def main() -> None:
    """Print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--tasks', default=','.join(TASKS), help='names of them')
    parser.add_argument('--rounds', type=int, default=5, help='turns of each')
    parser.add_argument('--serve', help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(TASKS[chosen.serve][0]())
        return
    names = chosen.tasks.split(',')
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        sys.exit(f'no task is called {unknown[0]!r}: choose among {", ".join(TASKS)}')
    try:
        print(json.dumps({name: compare(name, chosen.rounds) for name in names}, indent=2))
    except UserError as error:
        sys.exit(str(error))


if __name__ == '__main__':
    main()

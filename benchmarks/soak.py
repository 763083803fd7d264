"""
A long run that shows whether memory stays flat, and no frame takes longer than those before.

    python benchmarks/soak.py [--frames 20000] [--pipelines iss,ditta,…] [--json soak.json]

Each pipeline runs in a process of its own, over the synthetic street painted once and shown over
and over with stamps that go on. A result is written to the JSON file as soon as it is there, and
a pipeline that the file already has, run with the same options, is not run again: an interrupted
soak goes on. What runs:

- every pipeline by its name; `ditta` as the node runs it, adapting in the background, and told
  nineteen times on the way to drop what it learned and watch anew;
- `time2general-clips`, the other mode of Time2General;
- `virst`: a question, followed to the end and asked again every two seconds of the video;
- `node`: `iss` behind the node's worker thread and mailbox, with images that are damaged and
  images that come too fast among the others.

Memory is looked at a hundred times: what the process holds (VmRSS), and what of it is in use. The
difference is held free by the C library; it comes and goes by some 30 MiB with virst, and tells
nothing about growth, so the slope is that of what is in use (where glibc says; else of VmRSS). It
is the median of those between all pairs of looks (Theil and Sen) after the first 30 %, so that an
adaptation, which takes memory and gives it back, does not count as growth. Drift is the median
time of a frame in the last three tenths over that in the second to fourth: processor time on a
CPU, where other work disturbs the clock, and time by the clock on a GPU; both are written. The
verdict names the limits that it holds to. Runs of fewer than 5,000 frames are too short for a
slope: what a pipeline keeps of the past (the window of virst) still fills, and one page more
counts for much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import theilslopes

from vseg_ros.atomic import atomic_file
from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.measure import heap_in_use_mib, memory_mib
from vseg_ros.evaluation.bench.scene import FPS, street_frames
from vseg_ros.evaluation.machine import describe_machine
from vseg_ros.frame import Frame
from vseg_ros.pipeline import create_pipeline, require_pipeline
from vseg_ros.settings import PIPELINE_SETTINGS, DittaSettings, Time2GeneralSettings, VirstSettings
from vseg_ros.settings_reading import settings_from_values

DEFAULT = ('iss', 'ditta', 'time2general', 'time2general-clips', 'virst', 'node')
LARGEST_SLOPE = 100.0
"""Most growth that counts as flat of what is in use, in KiB per 1,000 frames: at 15 frames a
second that is 130 MB a day."""
LARGEST_DRIFT = 1.25
"""Most that a frame may take at the end, over what it took at the beginning."""
LOOKS = 100
PAINTED = 48
QUESTION = 'the car'
RUNS_OF_DITTA = 20
FIRST_WINDOW = 16
"""Frames that the question of virst is asked about before it is followed."""

Step = Callable[[Frame, int], None]


@dataclass(frozen=True)
class Options:
    """What a result depends on."""

    frames: int
    height: int
    width: int
    seed: int
    device: str
    threads: int


def plain(name: str, options: Options) -> Step:
    """Run a pipeline by its name."""
    values: dict[str, Any] = {'device': options.device, 'input_size': 0, 'seed': options.seed}
    pipeline = create_pipeline(name, settings_from_values(PIPELINE_SETTINGS[name], values))

    def step(frame: Frame, index: int) -> None:
        pipeline.step(frame)
    return step


def ditta(options: Options) -> Step:
    """Run DiTTA as its node does; forget and adapt again now and then."""
    from vseg_ros.ditta.pipeline import DittaPipeline

    pipeline = DittaPipeline(settings_from_values(DittaSettings, {
        'device': options.device, 'input_size': 0, 'seed': options.seed, 'warmup.frames': 8,
        'adaptation.background': True, 'adaptation.passes': 2}))
    anew = {options.frames * run // RUNS_OF_DITTA for run in range(1, RUNS_OF_DITTA)}

    def step(frame: Frame, index: int) -> None:
        if index in anew:
            pipeline.adapt()
        pipeline.step(frame)
    return step


def clips(options: Options) -> Step:
    """Run Time2General in clips; a frame's latency is that of its clip, shared out."""
    pipeline = create_pipeline('time2general', settings_from_values(Time2GeneralSettings, {
        'device': options.device, 'input_size': 0, 'mode': 'clips'}))

    def step(frame: Frame, index: int) -> None:
        pipeline.step(frame)
    return step


def virst(options: Options) -> Step:
    """Ask once, then follow."""
    from vseg_ros.virst.query import VirstFollower, VirstQuery

    query = VirstQuery(settings_from_values(VirstSettings, {
        'device': options.device, 'window.max_frames': FIRST_WINDOW, 'follow.reanchor': 2.0}))
    first: list[Frame] = []
    follower: VirstFollower | None = None

    def step(frame: Frame, index: int) -> None:
        nonlocal follower
        if follower is not None:
            follower.step(frame)
            return
        first.append(frame)
        if len(first) == FIRST_WINDOW:
            query.ask(first, QUESTION)
            follower = query.follow()
            first.clear()
    return step


def node(options: Options) -> Step:
    """Run `iss` behind the worker of the nodes, with bad and hurried images in between."""
    from vseg_ros.frame import Segmentation
    from vseg_ros.io.image_message import EncodedImage, decode_image, encode_image
    from vseg_ros.nodes.stream_monitor import StreamMonitor
    from vseg_ros.nodes.worker import Worker

    monitor = StreamMonitor()

    def decode(message: tuple[EncodedImage, int]) -> Frame:
        image, stamp = message
        return Frame(decode_image(image.encoding, image.height, image.width, image.step, 0,
                                  image.data), stamp, 'camera')

    def publish(frame: Frame, segmentation: Segmentation) -> None:
        encode_image(segmentation.labels, 'mono8')
        encode_image(segmentation.label_set.overlay(frame.image, segmentation.labels), 'rgb8')

    def look() -> None:
        monitor.report(time.monotonic_ns())

    pipeline = create_pipeline('iss', settings_from_values(
        PIPELINE_SETTINGS['iss'], {'device': options.device, 'input_size': 0}))
    worker: Worker[tuple[EncodedImage, int]] = Worker(
        pipeline, decode, publish, monitor, look)
    worker.start()

    def put(image: EncodedImage, stamp: int) -> None:
        monitor.received(stamp, time.monotonic_ns())
        worker.put((image, stamp))

    def step(frame: Frame, index: int) -> None:
        image = encode_image(np.ascontiguousarray(frame.image), 'rgb8')
        if index % 7 == 0:
            put(image._replace(step=1), frame.stamp)
        if index % 5 == 0:
            put(image, frame.stamp)
        put(image, frame.stamp)
        while True:
            report = monitor.report(time.monotonic_ns())
            if report.frames_in == (report.frames_out + report.frames_dropped
                                    + report.frames_rejected):
                return
            time.sleep(0.0005)
    return step


def make_step(name: str, options: Options) -> Step:
    """Load what a name stands for; it then takes one frame after the other."""
    made: dict[str, Callable[[Options], Step]] = {
        'ditta': ditta, 'time2general-clips': clips, 'virst': virst, 'node': node}
    return made[name](options) if name in made else plain(name, options)


def frames_of(options: Options) -> Iterator[Frame]:
    """Show the street over and over, every picture a new array, as a camera's are."""
    painted = street_frames(options.seed, min(PAINTED, options.frames),
                            (options.height, options.width))
    for index, frame in enumerate(islice(cycle(painted), options.frames)):
        yield Frame(frame.image.copy(), round(index * 1e9 / FPS), frame.frame_id)


class Look(NamedTuple):
    """
    A look at the memory.

    Attributes:
        frames: how many there were.
        held: by the process, in MiB.
        in_use: of that, in MiB.

    """

    frames: int
    held: float
    in_use: float


def soak(name: str, options: Options) -> dict[str, Any]:
    """Run one pipeline in this process, which should be a fresh one."""
    torch.set_num_threads(options.threads)
    step = make_step(name, options)
    latencies: list[float] = []
    work: list[float] = []
    looks: list[Look] = []
    every, tenth = max(1, options.frames // LOOKS), max(1, options.frames // 10)
    for index, frame in enumerate(frames_of(options)):
        began, used = time.perf_counter(), time.process_time()
        step(frame, index)
        latencies.append(1000 * (time.perf_counter() - began))
        work.append(1000 * (time.process_time() - used))
        if (index + 1) % every == 0:
            held = memory_mib('VmRSS') or float('nan')
            looks.append(Look(index + 1, held, heap_in_use_mib() or held))
        if (index + 1) % tenth == 0:
            print(f'{name}: {index + 1} of {options.frames} frames, {looks[-1].held:.0f} MiB '
                  f'({looks[-1].in_use:.1f} in use), '
                  f'{statistics.median(latencies[-tenth:]):.1f} ms a frame', flush=True)
    return judge(latencies, work, looks, options.device == 'cpu')


def median_tenths(times: list[float]) -> list[float]:
    """Return the median of each tenth; means of eight neighbours stand for clips, too."""
    return [statistics.median(float(np.mean(part[start:start + 8]))
                              for start in range(0, len(part), 8))
            for part in np.array_split(times, 10)]


def drift_of(medians: list[float]) -> float:
    """Return how much longer the last three tenths took than the second to fourth."""
    return round(statistics.median(medians[7:]) / statistics.median(medians[1:4]), 3)


def judge(latencies: list[float], work: list[float], looks: list[Look],
          by_work: bool) -> dict[str, Any]:
    """
    Say whether memory and latency were flat.

    Args:
        latencies: of every frame, in ms by the clock.
        work: of every frame, in ms of processor time.
        looks: at the memory.
        by_work: whether drift is judged by processor time.

    """
    medians, used = median_tenths(latencies), median_tenths(work)
    drift = drift_of(used if by_work else medians)
    settled = looks[len(looks) * 3 // 10:]
    slope = float(theilslopes([look.in_use * 1024 for look in settled],
                              [look.frames / 1000 for look in settled])[0])
    tenths = [looks[(len(looks) * part) // 10 - 1] for part in range(1, 11)]
    return {
        'mib_at_tenths': [round(look.held, 1) for look in tenths],
        'in_use_mib_at_tenths': [round(look.in_use, 1) for look in tenths],
        'kib_per_1000_frames': round(slope, 1),
        'median_ms_at_tenths': [round(value, 3) for value in medians],
        'median_cpu_ms_at_tenths': [round(value, 3) for value in used],
        'latency_drift': drift, 'clock_drift': drift_of(medians),
        'largest_ms': round(max(latencies), 1),
        'limits': {'kib_per_1000_frames': LARGEST_SLOPE, 'latency_drift': LARGEST_DRIFT},
        'memory_flat': slope <= LARGEST_SLOPE, 'latency_flat': drift <= LARGEST_DRIFT}


def verdict(result: dict[str, Any]) -> str:
    """Say in one line how a soak went."""
    memory = 'flat' if result['memory_flat'] else 'NOT FLAT'
    latency = 'flat' if result['latency_flat'] else 'NOT FLAT'
    return (f"memory {memory} ({result['kib_per_1000_frames']:+.1f} KiB per 1,000 frames, at most "
            f"{LARGEST_SLOPE:g}), latency {latency} ({result['latency_drift']:.2f} times what it "
            f'was, at most {LARGEST_DRIFT:g})')


def in_own_process(name: str, options: Options) -> dict[str, Any] | None:
    """Soak in a new process; None if it fails, after it has said why."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'result.json'
        done = subprocess.run([sys.executable, __file__, '--only', name, '--json', str(out),
                               *(word for key, value in asdict(options).items()
                                 for word in (f'--{key}', str(value)))], check=False)
        return json.loads(out.read_text()) if done.returncode == 0 else None


def run_all(names: list[str], options: Options, file: Path | None) -> int:
    """Soak one after the other; return how many were not flat or failed."""
    results: dict[str, Any] = {}
    if file is not None and file.exists():
        stored = json.loads(file.read_text())
        if stored.get('options') == asdict(options):
            results = stored['pipelines']
    failed = 0
    for name in names:
        result = results.get(name)
        if result is not None:
            print(f'{name}: {file} has it already')
        else:
            result = in_own_process(name, options)
        if result is None:
            print(f'{name}: FAILED')
            failed += 1
            continue
        results[name] = result
        failed += not (result['memory_flat'] and result['latency_flat'])
        print(f'{name}: {verdict(result)}')
        if file is not None:
            with atomic_file(file) as temporary:
                temporary.write_text(json.dumps(
                    {'machine': describe_machine(), 'options': asdict(options),
                     'pipelines': results}, indent=1))
    return failed


def main() -> None:
    """Soak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--frames', type=int, default=20_000, help='at least 100')
    parser.add_argument('--height', type=int, default=96)
    parser.add_argument('--width', type=int, default=160)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--pipelines', default=','.join(DEFAULT), metavar='NAMES',
                        help=f'separated by commas; {", ".join(DEFAULT)}, and every other '
                        'pipeline by its name')
    parser.add_argument('--json', type=Path, metavar='F', help='results, and what to go on from')
    parser.add_argument('--only', help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    options = Options(max(100, chosen.frames), chosen.height, chosen.width, chosen.seed,
                      chosen.device, chosen.threads)
    try:
        if chosen.only:
            chosen.json.write_text(json.dumps(soak(chosen.only, options)))
            return
        names = chosen.pipelines.split(',')
        for name in names:
            if name not in DEFAULT:
                require_pipeline(name)
        sys.exit(min(1, run_all(names, options, chosen.json)))
    except UserError as error:
        print(f'soak: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()

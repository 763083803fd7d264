"""
What a benchmark found: its JSON, and its lines for people.

    {"machine": …, "threads": n, "size": [h, w], "segmenter": …, "seed": n, "skipped": [...],
     "pipelines": {"iss": {"fps": …, "network_fps": …, "peak_mib": …},
                   "ditta": {"fps": …, "fps_over_iss": …, "adaptation_speedup": …,
                             "addon_speedup": …, "addon_memory_ratio": …, "peak_mib": …, …},
                   "time2general": {"fps": …, "fps_over_backbone": …, "speedup": …,
                                    "clip_fit": …, "peak_mib": …, …},
                   "virst": {"fps": …, "first_mask_seconds": …, "second_question_speedup": …,
                             "encodings_a_frame": …, "follow_mib_end": …, "peak_mib": …, …},
                   "tent": {"fps": …, "fps_over_iss": …, "warmup_fps": …, "peak_mib": …}, …}}

A key that ends in `_low` or `_high` is a quartile of the one without. What could not be measured
is null, and `skipped` says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vseg_ros.atomic import atomic_file
from vseg_ros.errors import UserError

PROMISED = {
    'iss': ('fps', 'peak_mib'),
    'ditta': ('fps', 'fps_over_iss', 'frozen_speedup', 'adaptation_speedup', 'addon_speedup',
              'addon_memory_ratio', 'peak_mib', 'released_peak_mib'),
    'time2general': ('fps', 'clips_fps', 'fps_over_backbone', 'network_over_backbone', 'speedup',
                     'clip_fit', 'peak_mib'),
    'virst': ('fps', 'first_mask_seconds', 'second_question_speedup', 'encodings_a_frame',
              'encoder_share', 'follow_seconds', 'follow_mib_settled', 'follow_mib_end',
              'peak_mib'),
}
"""Keys that a pipeline's numbers have, null where nothing could be measured."""

PROMISED_OF_OTHERS = ('fps', 'fps_over_iss', 'warmup_fps', 'peak_mib')
"""The same for every other pipeline: all that are compared with the plain segmenter."""


@dataclass
class BenchResult:
    """
    The numbers of one run.

    Attributes:
        machine: in words.
        threads: that the networks may use.
        size: height and width of the frames in pixels.
        segmenter: name or path.
        seed: of the street and of all that is random.
        pipelines: pipeline -> name -> number, or name -> numbers by name.
        skipped: why parts were left out, a line each.

    """

    machine: str
    threads: int
    size: tuple[int, int]
    segmenter: str
    seed: int
    pipelines: dict[str, dict[str, Any]]
    skipped: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the object that is written as JSON."""
        pipelines = {name: dict.fromkeys(PROMISED.get(name, PROMISED_OF_OTHERS)) | numbers
                     for name, numbers in self.pipelines.items()}
        return asdict(self) | {'size': list(self.size), 'pipelines': pipelines}


def write_bench(path: Path, result: BenchResult) -> None:
    """
    Write the numbers as JSON, whole or not at all.

    Raises:
        UserError: the file cannot be written.

    """
    text = json.dumps(result.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def read_bench(path: Path) -> BenchResult:
    """
    Read what `write_bench` wrote.

    Raises:
        UserError: the file is not there or is none of these.

    """
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
        return BenchResult(**values | {'size': tuple(values['size'])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f'{path} is no result of `vseg bench --json`: {error}') from error


def markdown(result: BenchResult) -> str:
    """Write `line_groups` as tables of Markdown, what was left out below them."""
    tables = ''.join(
        f'\n## {title}\n\n' + ''.join(f'| {" | ".join(row)} |\n' for row in (
            COLUMNS, ('---', '---:', '---:', '---:'), *lines))
        for title, lines in line_groups(result).items())
    left_out = ''.join(f'\nLeft out: {reason}.\n' for reason in result.skipped)
    return f'{result.machine} · threads: {result.threads}\n{tables}{left_out}'


def _times(value: float) -> str:
    return f'{value:.1f} x' if value >= 10 else f'{value:.2f} x'


def _one_in(value: float) -> str:
    return f'1 / {1 / value:.0f}' if value < 0.5 else f'{value:.2f}'


def _share(value: float) -> str:
    return f'{100 * value:.0f} %'


def _mib(value: float) -> str:
    return f'{value:.0f} MiB'


def _rate(value: float) -> str:
    return f'{value:.1f}'


def _milliseconds(value: float) -> str:
    return f'{1000 * value:.1f} ms'


def _fit(value: float) -> str:
    return f'{value:.4f}'


class Line(NamedTuple):
    """What was measured, its value, its quartiles and what is wanted; texts may be empty."""

    what: str
    value: str
    quartiles: str
    wanted: str


COLUMNS = Line('', 'value', 'quartiles', 'wanted')
"""The headings of the lines."""


@dataclass(frozen=True)
class _Row:
    pipeline: str
    key: str
    text: str
    write: Callable[[float], str]
    wanted: str = ''


_ROWS = (
    _Row('iss', 'fps', 'plain segmenter, frames a second', _rate, '25 at 256x448, 2 threads'),
    _Row('iss', 'network_fps', 'its network alone, frames a second', _rate),
    _Row('iss', 'peak_mib', 'plain segmenter, peak memory', _mib),
    _Row('ditta', 'fps', 'frozen DiTTA, frames a second', _rate),
    _Row('ditta', 'fps_over_iss', 'frozen DiTTA over the plain segmenter', _times, '0.80 x'),
    _Row('ditta', 'frozen_speedup', 'frozen DiTTA against the released way', _times),
    _Row('ditta', 'weak_cells', 'unreliable cells of 4 x 4 pixels', _share),
    _Row('ditta', 'b5_fps_over_iss', 'frozen DiTTA over the plain segmenter, both a SegFormer-B5',
         _times, '0.95 x'),
    _Row('ditta', 'b5_scattered_fps_over_iss', 'the same, unreliable cells scattered', _times),
    _Row('ditta', 'adaptation_speedup', 'adaptation against the plain one', _times, '15 x'),
    _Row('ditta', 'adaptation_speedup_same_losses', 'the same, losses at every pixel', _times),
    _Row('ditta', 'adaptation_memory_ratio', 'adaptation, memory', _one_in, '1 / 5'),
    _Row('ditta', 'addon_speedup', 'add-on against full attention', _times, '60 x'),
    _Row('ditta', 'addon_forward_speedup', 'the same, forward alone', _times),
    _Row('ditta', 'addon_memory_ratio', 'add-on, memory', _one_in, '1 / 30'),
    _Row('ditta', 'addon_forward_memory_ratio', 'the same, forward alone', _one_in),
    _Row('ditta', 'peak_mib', 'DiTTA with adaptation, peak memory', _mib),
    _Row('ditta', 'released_peak_mib', 'a frame computed the released way, peak memory', _mib),
    _Row('ditta', 'stream_mib_settled', 'frozen stream, memory after 200 frames', _mib),
    _Row('ditta', 'stream_mib_end', 'frozen stream, memory at its end', _mib),
    _Row('time2general', 'fps', 'Time2General sliding, frames a second', _rate),
    _Row('time2general', 'clips_fps', 'in clips, frames a second', _rate),
    _Row('time2general', 'latency_seconds', 'sliding, latency of a frame', _milliseconds),
    _Row('time2general', 'clips_latency_seconds',
         "clips at 15 Hz, latency of a clip's first frame", _milliseconds),
    _Row('time2general', 'backbone_fps', 'its frozen backbone alone, frames a second', _rate),
    _Row('time2general', 'network_over_backbone', 'sliding up to the logits over the backbone',
         _times, '0.80 x'),
    _Row('time2general', 'fps_over_backbone', 'sliding, pixels scored, over the backbone',
         _times, '0.80 x'),
    _Row('time2general', 'scoring_seconds', 'scoring the pixels of a frame', _milliseconds),
    _Row('time2general', 'speedup', 'sliding against encoding T frames each time', _times),
    _Row('time2general', 'clip_seconds_a_frame', 'a clip, for each frame', _milliseconds),
    _Row('time2general', 'clip_seconds_fixed', 'a clip, whatever its length', _milliseconds),
    _Row('time2general', 'clip_fit', 'R squared of that line, clips of 1 to 8', _fit),
    _Row('time2general', 'large_fps', 'DINOv2-L at 1022x518, bfloat16, frames a second', _rate,
         '36'),
    _Row('time2general', 'large_fps_over_paper', "over the paper's 18.15", _times, '2 x'),
    _Row('time2general', 'peak_mib', 'Time2General, peak memory', _mib),
    _Row('time2general', 'stream_mib_settled', 'sliding stream, memory after 200 frames', _mib),
    _Row('time2general', 'stream_mib_end', 'sliding stream, memory at its end', _mib),
    _Row('virst', 'fps', 'VIRST, frames of a 2 s window a second, first question', _rate),
    _Row('virst', 'first_mask_seconds', 'time to the first mask', _milliseconds),
    _Row('virst', 'question_seconds', 'a first question, whole answer', _milliseconds),
    _Row('virst', 'second_question_seconds', 'a second one about the window', _milliseconds),
    _Row('virst', 'second_question_speedup', 'a second one against a first', _times, '3 x'),
    _Row('virst', 'encodings_a_frame', 'encodings of a frame, 4 questions', _rate, '1.0'),
    _Row('virst', 'encoder_share', "the image encoder's share of a first question", _share),
    _Row('virst', 'follow_seconds', 'following, a frame', _milliseconds),
    _Row('virst', 'follow_worst_seconds', 'following, 99th percentile', _milliseconds),
    _Row('virst', 'large_fps', '2 B language model, SAM 2.1 tiny at 1024, bfloat16', _rate, '10'),
    _Row('virst', 'large_fps_over_paper', "over the paper's 5.1", _times, '2 x'),
    _Row('virst', 'large_words_fps', 'the same with 32 words of answer', _rate),
    _Row('virst', 'large_second_fps', 'the same, a second question', _rate),
    _Row('virst', 'peak_mib', 'VIRST, peak memory', _mib),
    _Row('virst', 'follow_mib_settled', 'following, peak memory after 200 frames', _mib),
    _Row('virst', 'follow_mib_end', 'following, peak memory at its end', _mib),
)


_TITLES = {'iss': 'DiTTA and the plain segmenter', 'ditta': 'DiTTA and the plain segmenter',
           'time2general': 'Time2General', 'virst': 'VIRST'}


def _rows_of_others(result: BenchResult) -> list[_Row]:
    """Lines of the pipelines that are compared with the plain segmenter and nothing else."""
    return [row for name in result.pipelines if name not in PROMISED for row in (
        _Row(name, 'fps', f'{name}, frames a second', _rate),
        _Row(name, 'fps_over_iss', f'{name} over the plain segmenter', _times),
        _Row(name, 'warmup_fps', f'{name} while it adapts, frames a second', _rate),
        _Row(name, 'peak_mib', f'{name}, peak memory', _mib))]


def line_groups(result: BenchResult) -> dict[str, list[Line]]:
    """Write what was measured for people: lines under the title of what they are about."""
    groups: dict[str, list[Line]] = {}
    for row in (*_ROWS, *_rows_of_others(result)):
        numbers = result.pipelines.get(row.pipeline, {})
        if numbers.get(row.key) is not None:
            title = _TITLES.get(row.pipeline, 'Baselines')
            groups.setdefault(title, []).append(
                Line(row.text, row.write(numbers[row.key]), _spread(numbers, row), row.wanted))
    return groups


def _spread(numbers: Mapping[str, Any], row: _Row) -> str:
    low, high = numbers.get(f'{row.key}_low'), numbers.get(f'{row.key}_high')
    return '' if low is None or high is None else f'{row.write(low)} to {row.write(high)}'

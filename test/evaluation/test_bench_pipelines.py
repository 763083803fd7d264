"""How the benchmark sets pipelines up and times their steps."""

from __future__ import annotations

import pytest

from vseg_ros.evaluation.bench.pipelines import frame_settings, step_seconds
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.models.image_pipeline import ImagePipeline
from vseg_ros.settings import PIPELINE_SETTINGS, SegmenterSettings

WITH_SEGMENTER = [name for name, kind in PIPELINE_SETTINGS.items()
                  if issubclass(kind, SegmenterSettings)]


@pytest.mark.parametrize('name', WITH_SEGMENTER)
def test_settings_are_the_defaults_on_a_cpu(name: str) -> None:
    settings = frame_settings(name, 'driving-b0', 3, 7)
    kind = PIPELINE_SETTINGS[name]
    changed = kind(segmenter='driving-b0', device='cpu', input_size=0, seed=3)
    assert settings == changed.with_warmup_frames(7)
    assert 'warmup' not in kind.model_fields or settings.warmup.frames == 7


def test_every_step_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    # bfloat16 needs no export
    plain = ImagePipeline(SegmenterSettings(device='cpu', precision='bfloat16'))
    clock = iter([1.0, 1.5, 2.0, 4.0])
    monkeypatch.setattr('vseg_ros.evaluation.bench.pipelines.time.perf_counter',
                        lambda: next(clock))
    assert step_seconds(plain, street_frames(0, 2, (64, 96))) == [0.5, 2.0]

"""A process that ends while DiTTA still adapts, as a script or an interrupted replay may."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import atexit
import threading

threads = threading.enumerate

@atexit.register
def show() -> None:
    # registered before the pipeline is known, so called after whatever that registers
    print('adapting still:', any(thread.name == 'ditta-adaptation' for thread in threads()))

import torch
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.models import image_pipeline
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.pipeline import create_pipeline
from vseg_ros.settings import DittaSettings
from vseg_ros.settings_reading import load_settings

# a graph for onnxruntime would take half a minute to make
image_pipeline.create_runtime = lambda segmenter, device, *_: TorchRuntime(
    segmenter, torch.device(device))
pipeline = create_pipeline('ditta', load_settings(DittaSettings, overrides=[
    'warmup.frames=4', 'adaptation.background=true', 'adaptation.passes=100', 'device=cpu',
    'input_size=0']))
for frame in street_frames(0, 5, (96, 160)):
    pipeline.step(frame)
print(pipeline.status.state.value)
"""


def test_a_thread_that_adapts_is_ended_before_the_interpreter() -> None:
    # one that the interpreter ends in the middle of a product aborts the process, now and then
    done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True,
                          timeout=100, check=False)
    assert done.stdout.splitlines() == ['ADAPTING', 'adapting still: False'], done.stderr
    assert done.returncode == 0

"""`vseg train`: make the shipped weights again, or your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from vseg_ros.commands.options import Override
from vseg_ros.settings_reading import load_settings
from vseg_ros.training_settings import (
    SegmenterTrainingSettings,
    Time2GeneralTrainingSettings,
    TrackerTrainingSettings,
)

train = typer.Typer(help='Train a model; an interrupted run goes on where it was.',
                    no_args_is_help=True)


@train.command('iss')
def train_iss(params: Annotated[Path, typer.Option(
                  metavar='FILE', help='Settings, such as config/train_iss.yaml.')],
              out: Annotated[Path, typer.Option(
                  metavar='FOLDER', help='Where checkpoint.pt and segmenter.safetensors go.')]
              = Path('runs/iss'),
              validate: Annotated[Optional[str], typer.Option(  # noqa: UP045
                  metavar='FOLDER', help='Folder in the camvid11 form that is scored at every '
                  'checkpoint; never trained on.')] = None,
              param: Override = None) -> None:
    """
    Train the plain image segmenter on the synthetic street and CamVid.

    Run it again with the same --out to go on after an interruption; several GPUs: start it with
    `accelerate launch -m vseg_ros.cli train iss ...`.

    Example: vseg train iss --params config/train_iss.yaml -p camvid=camvid/train
    """
    settings = load_settings(SegmenterTrainingSettings, params, param or [])
    # PyTorch is loaded only now, so that `vseg --help` answers at once
    from vseg_ros.commands.train_segmenter import train_segmenter

    train_segmenter(settings, out, validate)


@train.command('time2general')
def train_time2general(params: Annotated[Path, typer.Option(
                           metavar='FILE',
                           help='Settings, such as config/train_time2general.yaml.')],
                       out: Annotated[Path, typer.Option(
                           metavar='FOLDER', help='Where checkpoint.pt, logs/ and '
                           'time2general.safetensors go.')] = Path('runs/time2general'),
                       validate: Annotated[Optional[str], typer.Option(  # noqa: UP045
                           metavar='FOLDER', help='Folder in the camvid11 form that is scored '
                           'at every checkpoint; never trained on.')] = None,
                       param: Override = None) -> None:
    """
    Train Time2General on the synthetic street and a data set of driving videos.

    Run it again with the same --out to go on after an interruption; several GPUs: start it with
    `accelerate launch -m vseg_ros.cli train time2general ...`.

    Example: vseg train time2general --params config/train_time2general.yaml -p source=camvid/train
    """
    settings = load_settings(Time2GeneralTrainingSettings, params, param or [])
    from vseg_ros.commands.train_time2general import train_time2general as run

    run(settings, out, validate)


@train.command('tracker')
def train_tracker(params: Annotated[Path, typer.Option(
                      metavar='FILE', help='Settings, such as config/train_tracker.yaml.')],
                  out: Annotated[Path, typer.Option(
                      metavar='FOLDER', help='Where checkpoint.pt, clips/ and '
                      'nano-sam2.safetensors go.')] = Path('runs/tracker'),
                  clips: Annotated[Optional[Path], typer.Option(  # noqa: UP045
                      metavar='FOLDER', help='Folder of encoded clips, such as those of an '
                      'earlier run; about 9 GB. [default: clips/ in --out]')] = None,
                  param: Override = None) -> None:
    """
    Train the small SAM 2 to follow points and masks.

    Its two runs are config/train_tracker_points.yaml, then config/train_tracker.yaml, which
    begins with what the first has written. Run either again with the same --out to go on after
    an interruption.

    Example: vseg train tracker --params config/train_tracker.yaml -p camvid=camvid/train
    """
    settings = load_settings(TrackerTrainingSettings, params, param or [])
    from vseg_ros.commands.train_tracker import train_tracker as run

    run(settings, out, clips or out / 'clips')


@train.command('virst')
def train_virst(stage: Annotated[int, typer.Option(
                    min=0, max=3, help='0: the small language model alone; 1: it and both '
                    'fusions; 2: the mask decoder too, on images; 3: all that propagates.')],
                params: Annotated[Path, typer.Option(
                    metavar='FILE', help='Settings, such as config/train_virst.yaml.')],
                out: Annotated[Path, typer.Option(
                    metavar='FOLDER', help='Where stageN.pt, stageN.safetensors and the encoded '
                    'clips go.')] = Path('runs/virst'),
                start_from: Annotated[Optional[str], typer.Option(  # noqa: UP045
                    metavar='FILE', help='Model to go on with; by default what the stage before '
                    'wrote into --out.')] = None,
                param: Override = None) -> None:
    """
    Train one stage of the small VIRST on the synthetic street or a referring data set.

    Run the stages 0 to 3 one after the other with the same --out; stage3.safetensors is the model.
    Run a stage again to go on after an interruption.

    Example: vseg train virst --stage 1 --params config/train_virst.yaml
    """
    from vseg_ros.commands.train_virst import stage_settings
    from vseg_ros.commands.train_virst import train_virst as run

    run(stage_settings(stage, params, param or []), out, start_from)

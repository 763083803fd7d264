"""`vseg train`: make the shipped weights again, or your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from vseg_ros.commands.options import Override
from vseg_ros.settings import load_settings
from vseg_ros.training_settings import SegmenterTrainingSettings, Time2GeneralTrainingSettings

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

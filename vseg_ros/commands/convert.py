"""`vseg convert`: checkpoints that authors released, as this package reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

convert = typer.Typer(help="Turn the authors' released checkpoints into ours.",
                      no_args_is_help=True, rich_markup_mode=None)


@convert.callback()
def _methods() -> None:
    """Turn the authors' released checkpoints into ours."""


CLASSES = Annotated[str | None, typer.Option(
    '--classes', help='Names of the classes: ade20k, cityscapes, vspw, or a file with one name a '
    'line; by default the one of these that has as many classes as the checkpoint.')]


@convert.command()
def ditta(
        checkpoint: Annotated[Path, typer.Argument(
            metavar='CHECKPOINT', help='The file that the authors of DiTTA released.')],
        out: Annotated[Path, typer.Argument(metavar='OUT', help='Folder to write.')],
        classes: CLASSES = None) -> None:
    """
    Convert the checkpoint of DiTTA: a segmenter, and where its add-on starts.

    Example: vseg convert ditta ditta_segformer_b5_vspw.pth ditta-b5-vspw
    """
    from vseg_ros.commands.progress import console
    from vseg_ros.ditta.released_checkpoint import convert_ditta

    size = convert_ditta(checkpoint, out, classes)
    console.print(f'wrote {out}: {size}, and where add-on and projection head start')


@convert.command()
def segformer(
        checkpoint: Annotated[Path, typer.Argument(
            metavar='CHECKPOINT', help='A file that the authors of SegFormer released.')],
        out: Annotated[Path, typer.Argument(metavar='OUT', help='Folder to write.')],
        classes: CLASSES = None) -> None:
    """
    Convert an original SegFormer, B0 to B5, into a segmenter.

    Example: vseg convert segformer segformer.b5.640x640.ade.160k.pth segformer-b5-ade
    """
    from vseg_ros.commands.progress import console
    from vseg_ros.models.released_segformer import convert_segformer

    size = convert_segformer(checkpoint, out, classes)
    console.print(f'wrote {out}: {size}')


@convert.command()
def sam2(
        checkpoint: Annotated[Path, typer.Argument(
            metavar='CHECKPOINT', help="Meta's file, of SAM 2 or 2.1.")],
        out: Annotated[Path, typer.Argument(metavar='OUT', help='Folder to write.')],
        config: Annotated[str | None, typer.Option(
            help='Folder or hub id with the configuration, if the size is none of the published '
            'ones.')] = None) -> None:
    """
    Convert a SAM 2 of Meta's into a tracker.

    Example: vseg convert sam2 sam2.1_hiera_large.pt sam2.1-large
    """
    from vseg_ros.commands.progress import console
    from vseg_ros.models.released_sam2 import convert_sam2

    convert_sam2(checkpoint, out, config)
    console.print(f'wrote {out}')


@convert.command()
def virst(
        checkpoint: Annotated[Path, typer.Argument(
            metavar='CHECKPOINT', help='The file that the authors of VIRST released.')],
        out: Annotated[Path, typer.Argument(metavar='OUT', help='Folder to write.')],
        base: Annotated[str | None, typer.Option(
            help='Folder or hub id of the model that VIRST was trained from; by default '
            'VideoChat-Flash-Qwen2-7B of the hub.')] = None,
        lora_alpha: Annotated[float | None, typer.Option(
            min=0, help='Alpha that the low-rank matrices were trained with; 16 by default.')]
        = None,
        keep_lora: Annotated[bool, typer.Option(
            '--keep-lora', help='Keep the low-rank matrices apart instead of merging them; peft '
            'is then needed to load the model.')] = False,
        sam2: Annotated[str | None, typer.Option(
            help='Folder or hub id with the configuration of the SAM 2 in the checkpoint, if its '
            'size is none of the published ones.')] = None) -> None:
    """
    Convert a checkpoint of VIRST and its language model into one folder.

    Example: vseg convert virst virst.pt virst-7b --base ./VideoChat-Flash-Qwen2-7B_res448
    """
    from vseg_ros.commands.progress import console, progress_bar
    from vseg_ros.virst.convert import convert_virst
    from vseg_ros.virst.low_rank import ALPHA
    from vseg_ros.virst.released_plan import BASE

    alpha = ALPHA if lora_alpha is None else lora_alpha
    with progress_bar('reading') as bar:
        convert_virst(checkpoint, out, base or BASE, alpha, keep_lora, sam2, bar)
    console.print(f'wrote {out}')

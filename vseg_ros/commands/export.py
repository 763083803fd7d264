"""`vseg export`: write a trained model as ONNX, for a robot without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vseg_ros.commands.options import Override, Params
from vseg_ros.errors import UserError
from vseg_ros.settings import DittaSettings, Time2GeneralSettings
from vseg_ros.settings_reading import load_settings

export = typer.Typer(help='Write a trained model as ONNX.', no_args_is_help=True,
                     rich_markup_mode=None)


@export.callback()
def _models() -> None:
    """Write a trained model as ONNX, for onnxruntime on a processor, CUDA or TensorRT."""


Out = Annotated[Path, typer.Option('--out', metavar='MODEL.onnx', help='File to write.')]
Size = Annotated[str, typer.Option(
    metavar='HxW', help='Size of the images in pixels, which TensorRT runs best, or `dynamic`.')]


@export.command()
def ditta(
        out: Out,
        adapted: Annotated[Path, typer.Option(
            metavar='F.safetensors', help="What DiTTA learned: written by `vseg replay --save` or "
            "the node's ~/save.")],
        segmenter: Annotated[str, typer.Option(
            help='The segmenter that was adapted; goes before the settings.')] = '',
        size: Size = 'dynamic',
        precision: Annotated[str, typer.Option(
            help='Number format of the networks: float32, or float16 for a GPU.')] = 'float32',
        params: Params = None, param: Override = None) -> None:
    """
    Write one step of the frozen DiTTA.

    An image and what the frame before handed on go in; labels, confidence and what the next frame
    is given come out. As adapted_weights, the node and replay run the file in place of DiTTA.

    Example: vseg export ditta --adapted here.safetensors --out here.onnx --size 352x480
    """
    wanted = read_export_size(size)
    overrides = [*(param or []), *([f'segmenter={segmenter}'] if segmenter else [])]
    settings = load_settings(DittaSettings, params, overrides)
    from vseg_ros.commands.progress import console
    from vseg_ros.ditta.export import export_ditta, load_adapted_model, require_precision

    require_precision(precision)
    model = load_adapted_model(settings, adapted)
    console.print('exporting, which takes a minute or so …')
    export_ditta(*model, settings, out, wanted, precision)
    console.print(f'wrote {out}')


@export.command()
def time2general(
        out: Out,
        weights: Annotated[str, typer.Option(
            help='A bundled name, or a file written by `vseg train time2general`.')]
        = str(Time2GeneralSettings.model_fields['weights'].default),
        size: Size = 'dynamic') -> None:
    """
    Write one step of Time2General's sliding mode.

    An image and the memory of those before it go in; labels, confidence and the next memory come
    out.

    Example: vseg export time2general --out t2g.onnx --size 352x480
    """
    from vseg_ros.commands.progress import console
    from vseg_ros.time2general.export import export_time2general
    from vseg_ros.time2general.saved import load_time2general

    wanted = read_export_size(size)
    model = load_time2general(weights)
    console.print('exporting, which takes a minute or so …')
    export_time2general(model, out, wanted)
    console.print(f'wrote {out}')


def read_export_size(text: str) -> tuple[int, int] | None:
    """
    Read '352x480' as height and width, 'dynamic' as None.

    Raises:
        UserError: it is neither.

    """
    if text == 'dynamic':
        return None
    sides = [int(part) if part.isdecimal() else 0 for part in text.lower().split('x')]
    if len(sides) != 2 or not all(0 < side <= 8192 for side in sides):
        raise UserError(f'--size {text!r} must be height x width, such as 352x480, or dynamic')
    return sides[0], sides[1]

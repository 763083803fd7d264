"""
Where DiTTA starts: add-on and projection head beside a segmenter, before any adaptation.

Both start at random, and what an adaptation comes to depends a little on the draw. A folder with
a segmenter may therefore hold `INITIAL`, the draw of an experiment that is to be repeated;
without it the weights are drawn by `seed`.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from vseg_ros.errors import UserError
from vseg_ros.models.stored_weights import read_weights
from vseg_ros.models.weight_places import check_places, shapes_of

INITIAL = 'ditta_initial.safetensors'
"""Names: addon.query_layer.*, addon.key_layer.* and projection.*; float32."""

STARTED = ('addon.', 'projection.')


def load_initial(model: nn.Module, segmenter: str) -> bool:
    """
    Set add-on and projection head to the start that a segmenter brings.

    Args:
        model: a `DittaModel`; changed only if the whole file fits.
        segmenter: name of the segmenter, of which only a folder can bring a start.

    Returns:
        whether it brought one.

    Raises:
        UserError: the file is damaged, or belongs to another segmenter.

    """
    file = Path(segmenter).expanduser() / INITIAL
    if not file.is_file():
        return False
    state, _ = read_weights(file)
    wanted = {name: value for name, value in model.state_dict().items()
              if name.startswith(STARTED)}
    try:
        check_places('add-on', shapes_of(state), shapes_of(wanted))
    except UserError as error:
        raise UserError(f'{file} does not fit its segmenter ({error}): convert the checkpoint '
                        'again') from error
    model.load_state_dict(state, strict=False)
    return True

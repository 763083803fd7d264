"""Whether weights from elsewhere fit a model: every one has a place, every place its weight."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vseg_ros.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Tell the shape of every weight."""
    return {name: tuple(value.shape) for name, value in state.items()}


def check_places(what: str, shapes: Shapes, places: nn.Module | Shapes,
                 advice: str = 'download it again') -> None:
    """
    Check that weights fit exactly.

    Args:
        what: the part of a checkpoint that they are, for the message.
        shapes: of the weights.
        places: a model, of any device, or the shapes that are wanted.
        advice: what to do if a weight is missing or left over.

    Raises:
        UserError: a weight is missing, left over, or of another shape.

    """
    wanted = shapes_of(places.state_dict()) if isinstance(places, nn.Module) else places
    for verb, names in (('lacks', wanted.keys() - shapes.keys()),
                        ('has unknown', shapes.keys() - wanted.keys())):
        if names:
            raise UserError(f"the checkpoint's {what} {verb} weights ({len(names)}, such as "
                            f'{min(names)}): {advice}')
    wrong = sorted(name for name in wanted if wanted[name] != shapes[name])
    if wrong:
        raise UserError(f"the checkpoint's {what} has another size: {wrong[0]} is "
                        f'{list(shapes[wrong[0]])}, not {list(wanted[wrong[0]])}')

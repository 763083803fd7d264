"""
A node's settings as declared ROS parameters.

Every field of the settings model is declared with its description, type and range. What the
parameter files and the command line give is checked as a whole before anything is declared: a
name that no field has ends the start, where rclpy would pass over it in silence. Later changes
are checked by the same model, so that the reason of a refusal is the one that the command line
gives, and `settings` always holds the values in force, complete and valid.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Generic, TypeVar

from pydantic.fields import FieldInfo
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from vseg_ros.errors import UserError
from vseg_ros.nodes.parameters import (
    Effect,
    NodeSettings,
    allowed_words,
    effect_of,
    value_type,
)
from vseg_ros.settings_reading import describe_range, dotted_fields, settings_from_values

ModelType = TypeVar('ModelType', bound=NodeSettings)

QOS_OVERRIDES = 'qos_overrides.'
"""Parameters of this group are declared by rclpy when it makes the topic they belong to."""

_TYPES = {bool: Parameter.Type.BOOL, int: Parameter.Type.INTEGER, float: Parameter.Type.DOUBLE,
          str: Parameter.Type.STRING}
_LARGEST = {int: 2**63 - 1, float: sys.float_info.max}
_RESTRICTIONS = {
    Effect.CONFIGURE: 'cannot change while the node is configured: clean it up first',
    Effect.ADAPTATION: 'counts from the next warm-up and adaptation on',
    Effect.AT_ONCE: '',
}


class DeclaredParameters(Generic[ModelType]):
    """
    The parameters of one node.

    Args:
        node: where they are declared.
        model: the settings, each with a default.
        changed: called when `settings` was replaced.

    Raises:
        UserError: a parameter file or the command line names a parameter that is not there (the
            nearest is named) or gives a value out of its range (the range is named).

    Attributes:
        settings: the values in force; replaced as a whole, so any thread may read it.
        locked: whether what is read on configure must stay as it is.

    """

    def __init__(self, node: Node, model: type[ModelType], changed: Callable[[], None]) -> None:
        self.locked = False
        self._node = node
        self._changed = changed
        self._model = model
        self._fields = dict(dotted_fields(model))
        self.settings: ModelType = settings_from_values(model, {
            name: value for name, value in given_values(node).items()
            if not node.has_parameter(name) and not name.startswith(QOS_OVERRIDES)})
        for name, value in self._values().items():
            # The values given are in `settings` already, and there an int has become a float.
            node.declare_parameter(
                name, value, describe(name, self._fields[name], effect_of(model, name)),
                ignore_override=True)
        # Humble has no such callback, and there a double takes no whole number.
        if hasattr(node, 'add_pre_set_parameters_callback'):
            node.add_pre_set_parameters_callback(self._whole_numbers_to_doubles)
        node.add_on_set_parameters_callback(self._check)

    def unused_qos_overrides(self) -> list[str]:
        """Return the QoS overrides given that no topic of the node has taken."""
        return sorted(name for name in given_values(self._node)
                      if name.startswith(QOS_OVERRIDES) and not self._node.has_parameter(name))

    def _values(self) -> dict[str, Any]:
        return {name: reduce(getattr, name.split('.'), self.settings) for name in self._fields}

    def _whole_numbers_to_doubles(self, parameters: list[Parameter]) -> list[Parameter]:
        return [
            Parameter(each.name, Parameter.Type.DOUBLE, float(each.value))
            if (each.type_ is Parameter.Type.INTEGER and each.name in self._fields
                and value_type(self._fields[each.name]) is float) else each
            for each in parameters]

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        changes = {each.name: each.value for each in parameters if each.name in self._fields}
        try:
            self._require_changeable(changes)
            self.settings = settings_from_values(self._model, {**self._values(), **changes})
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if changes:
            self._changed()
        return SetParametersResult(successful=True)

    def _require_changeable(self, changes: Mapping[str, Any]) -> None:
        present = self._values()
        for name, value in changes.items():
            fixed = self.locked and effect_of(self._model, name) is Effect.CONFIGURE
            if fixed and value != present[name]:
                raise UserError(
                    f'parameter {name!r} {_RESTRICTIONS[Effect.CONFIGURE]}, with `ros2 lifecycle '
                    f'set {self._node.get_fully_qualified_name()} cleanup`')


def given_values(node: Node) -> dict[str, Any]:
    """Return names and values that parameter files and the command line give to a node."""
    # rclpy has no public way to ask for those that nobody has declared.
    return {name: parameter.value for name, parameter in node._parameter_overrides.items()}


def describe(name: str, field: FieldInfo, effect: Effect) -> ParameterDescriptor:
    """
    Describe a setting to ROS.

    Args:
        name: dotted name.
        field: the setting.
        effect: when a change counts.

    Returns:
        type, description, range (ROS knows inclusive ones alone; an end that does not belong to
        it is named in the constraints), the words allowed, and when it may change.

    """
    kind = value_type(field)
    descriptor = ParameterDescriptor(
        name=name, type=_TYPES[kind].value, description=field.description or '',
        additional_constraints='; '.join(filter(None, (
            _one_of(allowed_words(field)), _open_range(field), _RESTRICTIONS[effect]))))
    low, high = _limit(field, 'ge', 'gt'), _limit(field, 'le', 'lt')
    if kind in _LARGEST and (low, high) != (None, None):
        limits = {'from_value': kind(-_LARGEST[kind] if low is None else low),
                  'to_value': kind(_LARGEST[kind] if high is None else high)}
        if kind is int:
            descriptor.integer_range.append(IntegerRange(**limits))
        else:
            descriptor.floating_point_range.append(FloatingPointRange(**limits))
    return descriptor


def _limit(field: FieldInfo, *kinds: str) -> Any:
    return next((getattr(item, kind) for item in field.metadata for kind in kinds
                 if hasattr(item, kind)), None)


def _one_of(words: tuple[str, ...]) -> str:
    return f'one of {", ".join(words)}' if words else ''


def _open_range(field: FieldInfo) -> str:
    exclusive = _limit(field, 'gt') is not None or _limit(field, 'lt') is not None
    return describe_range(field) if exclusive else ''

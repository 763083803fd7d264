"""Settings as ROS parameters: described, changed while running, refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter

from vseg_ros.errors import UserError
from vseg_ros.nodes.parameters import DittaNodeSettings
from vseg_ros.settings_reading import dotted_fields


def put(node: Any, **values: Any) -> tuple[bool, str]:
    """Set parameters together; two underscores stand for a dot."""
    result = node.set_parameters_atomically(
        [Parameter(name.replace('__', '.'), value=value) for name, value in values.items()])
    return result.successful, result.reason


def test_every_setting_is_declared_and_described(new_node: Callable[..., Any]) -> None:
    node = new_node()
    for name, field in dotted_fields(DittaNodeSettings):
        described = node.describe_parameter(name)
        assert described.description == field.description
        assert described.type != ParameterType.PARAMETER_NOT_SET
        assert not described.dynamic_typing
    rate = node.describe_parameter('adaptation.learning_rate')
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (
        0.0, 1.0)
    assert rate.additional_constraints.startswith('above 0 to 1; ')
    radius = node.describe_parameter('fusion.radius').integer_range[0]
    assert (radius.from_value, radius.to_value) == (1, 16)
    assert node.describe_parameter('precision').additional_constraints == (
        'one of auto, float32, bfloat16, float16; cannot change while the node is configured: '
        'clean it up first')
    assert not node.describe_parameter('image_timeout').additional_constraints
    assert node.get_parameter('adaptation.background').value is True


def test_values_given_are_in_force_and_an_integer_serves_as_double(
        new_node: Callable[..., Any]) -> None:
    node = new_node({'fusion.tau': 1, 'warmup.frames': 7})
    assert node.get_parameter('fusion.tau').value == 1.0
    assert node.declared.settings.fusion.tau == 1.0
    assert node.declared.settings.warmup.frames == 7
    # Humble asks nobody before it compares types
    converts = hasattr(node, 'add_pre_set_parameters_callback')
    assert put(node, fusion__tau=0)[0] == converts
    assert put(node, fusion__tau=0.0) == (True, '')
    assert type(node.get_parameter('fusion.tau').value) is float
    assert node.declared.settings.fusion.tau == 0.0


@pytest.mark.parametrize(('values', 'reason'), [
    ({'adaptation__learning_rate': 0.0},
     "setting 'adaptation.learning_rate' is 0.0: must be above 0 to 1"),
    ({'adaptation__loss': 'l2'}, "setting 'adaptation.loss' is 'l2': input should be 'logits'"),
    ({'warmup__frames': -1}, 'out of range'),
    ({'fusion__tau': 1.5}, 'out of range'),
    ({'fusion__tau': 'high'}, 'Wrong parameter type'),
    ({'warmup__frames': 5, 'adaptation__momentum': 1.0}, 'must be 0 to below 1')])
def test_bad_value_is_refused_with_the_reason(new_node: Callable[..., Any],
                                              values: dict[str, Any], reason: str) -> None:
    node = new_node()
    before = node.declared.settings
    successful, said = put(node, **values)
    assert not successful
    assert reason in said
    assert node.declared.settings == before


def test_unknown_parameter_is_refused_at_the_start(new_node: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="no setting 'trakcer': did you mean 'tracker'"):
        new_node({'trakcer': 'flow'})


def test_what_is_read_on_configure_is_locked_until_cleanup(new_node: Callable[..., Any]) -> None:
    node = new_node()
    assert put(node, input_size=64) == (True, '')
    node.trigger_configure()
    assert node.state == 'INACTIVE'
    successful, reason = put(node, input_size=128)
    assert not successful
    assert reason == ("parameter 'input_size' cannot change while the node is configured: clean "
                      'it up first, with `ros2 lifecycle set /ditta cleanup`')
    assert put(node, input_size=64, fusion__tau=0.5) == (True, ''), 'the same value is no change'
    node.trigger_cleanup()
    assert put(node, input_size=128) == (True, '')


def test_hot_parameter_counts_for_the_next_adaptation(new_node: Callable[..., Any], camera: Any,
                                                      ears: Any, ros: Any) -> None:
    node = new_node({'warmup.frames': 2, 'prompts.min_reliability': 1.0})
    node.trigger_configure()
    node.trigger_activate()
    camera.film_until(lambda: node.state == 'FROZEN')
    assert put(node, warmup__frames=1000) == (True, '')
    answer = ros.node('client')
    from std_srvs.srv import Trigger
    client = answer.create_client(Trigger, '/ditta/adapt')
    ros.find(client)
    future = client.call_async(Trigger.Request())
    ros.until(future.done)
    assert future.result().success
    for _ in range(10):
        answers = len(ears.segmentations)
        camera.film_until(lambda answers=answers: len(ears.segmentations) > answers)
    assert node.state == 'WARMING_UP'
    assert 0 < node.pipeline.status.progress < 0.1


def test_qos_override_without_its_topic_is_named(new_node: Callable[..., Any],
                                                 capfd: pytest.CaptureFixture[str]) -> None:
    node = new_node({'qos_overrides./image.subscription.reliability': 'reliable',
                     'qos_overrides./imgae.subscription.reliability': 'reliable'})
    node.trigger_configure()
    node.trigger_activate()
    log = capfd.readouterr().err
    assert 'listening to /image (QoS reliable, volatile, depth 1)' in log
    assert 'qos_overrides./imgae.subscription.reliability is of no use' in log


def test_wrong_qos_override_fails_the_activation(new_node: Callable[..., Any],
                                                 capfd: pytest.CaptureFixture[str]) -> None:
    node = new_node({'qos_overrides./image.subscription.reliability': 'rock_solid'})
    node.trigger_configure()
    node.trigger_activate()
    assert node.state == 'INACTIVE'
    assert 'check the parameters qos_overrides./image.subscription' in capfd.readouterr().err

"""A synthetic street: driving video from a seed, with exact labels, for training and tests."""

from vseg_ros.io.street.attributes import InstanceAttributes, StreetFrame
from vseg_ros.io.street.conditions import LIGHTINGS, WEATHERS
from vseg_ros.io.street.video import SyntheticStreet

__all__ = ['LIGHTINGS', 'WEATHERS', 'InstanceAttributes', 'StreetFrame', 'SyntheticStreet']

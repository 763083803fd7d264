"""Which topic of a bag is the camera, which the labels, and which names the labels."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection

from vseg_ros.errors import UserError
from vseg_ros.io.message_types import COMPRESSED_IMAGE, IMAGE, LABEL_INFO

OUTPUT_NAMESPACE = '/vseg/'
_LABELS = '/labels'


@dataclass
class Topic:
    """Name, type and message count of a topic, over all its publishers."""

    name: str
    type: str
    count: int = 0

    def __str__(self) -> str:
        return f'{self.name} ({self.type}, {self.count} messages)'


def topics_of(connections: Iterable[Connection]) -> dict[str, Topic]:
    """Sum a bag's connections up by topic, in order of name."""
    topics: dict[str, Topic] = {}
    for connection in connections:
        topic = topics.setdefault(connection.topic, Topic(connection.topic, connection.msgtype))
        topic.count += connection.msgcount
    return dict(sorted(topics.items()))


def _find(path: Path, topics: dict[str, Topic], name: str, types: tuple[str, ...]) -> Topic:
    """Return the topic that the user named, of one of the types."""
    if name not in topics:
        near = difflib.get_close_matches(name, topics, n=1, cutoff=0)
        hint = f': did you mean {near[0]}?' if near else ', which is empty'
        raise UserError(f'there is no topic {name} in the bag {path}{hint}')
    topic = topics[name]
    if topic.type not in types:
        raise UserError(f'the topic {name} in the bag {path} is of type {topic.type}: choose one '
                        f'of type {" or ".join(types)}')
    return topic


def image_topic(path: Path, topics: dict[str, Topic], name: str | None) -> Topic:
    """
    Choose the camera.

    Label images and the topics under /vseg/, which our own nodes publish, are cameras only by
    name.

    Raises:
        UserError: no image topic, several without a `name`, an unknown name, or no message on it.

    """
    if name is not None:
        chosen = _find(path, topics, name, (IMAGE, COMPRESSED_IMAGE))
    else:
        images = [t for t in topics.values() if t.type in (IMAGE, COMPRESSED_IMAGE)]
        cameras = [t for t in images
                   if not t.name.startswith(OUTPUT_NAMESPACE) and not t.name.endswith(_LABELS)]
        if not images:
            raise UserError(f'the bag {path} has no image topic ({IMAGE} or {COMPRESSED_IMAGE}); '
                            f'it has {", ".join(map(str, topics.values())) or "no topic at all"}: '
                            'record the camera too')
        if len(cameras) != 1:
            raise UserError(f'choose an image topic of the bag {path} with --topic: '
                            f'{", ".join(map(str, cameras or images))}')
        chosen = cameras[0]
    if not chosen.count:
        raise UserError(f'the bag {path} holds no message on {chosen.name}: record it again')
    return chosen


def _namespace(topic: str) -> str:
    return topic.rsplit('/', 1)[0]


def label_topic(path: Path, topics: dict[str, Topic], camera: str,
                name: str | None) -> Topic | None:
    """
    Choose the label images: the topic named, or the one whose name ends with /labels.

    Raises:
        UserError: several, none of them beside the camera; or an unknown name.

    """
    if name is not None:
        return _find(path, topics, name, (IMAGE,))
    found = [t for t in topics.values()
             if t.type == IMAGE and t.name.endswith(_LABELS) and t.name != camera]
    # /camera/image and /camera/image/compressed both belong with /camera/labels.
    spaces = (_namespace(camera), _namespace(_namespace(camera)))
    beside = [t for t in found if _namespace(t.name) in spaces]
    chosen = beside or found
    if len(chosen) > 1:
        raise UserError(f'choose a label topic of the bag {path} with --labels: '
                        f'{", ".join(map(str, chosen))}')
    return chosen[0] if chosen else None


def label_info_topic(topics: dict[str, Topic], labels: str) -> Topic | None:
    """Return the LabelInfo in the namespace of the label images, if there is one."""
    topic = topics.get(f'{_namespace(labels)}/label_info')
    return topic if topic is not None and topic.type == LABEL_INFO else None

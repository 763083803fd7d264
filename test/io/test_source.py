from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.source import open_source, open_sources
from vseg_ros.io.video import VideoWriter
from vseg_ros.labels import DRIVING, LabelSet


def test_every_kind_of_source_is_recognised(tmp_path, source, image_folder):
    for name in ('a.mcap', 'a.db3', 'bag'):
        write_camera_bag(source, tmp_path / name)
    with VideoWriter(tmp_path / 'a.mp4') as video:
        video.write(np.zeros((16, 16, 3), np.uint8), 0)
    kinds = {name: type(open_source(tmp_path / name)).__name__
             for name in ('a.mcap', 'a.db3', 'bag', 'a.mp4', 'folder/images')}
    assert kinds == {'a.mcap': 'BagSource', 'a.db3': 'BagSource', 'bag': 'BagSource',
                     'a.mp4': 'VideoFile', 'folder/images': 'ImageFolder'}


def test_nothing_there_and_impossible_options_are_refused(tmp_path, source, image_folder):
    bag = tmp_path / 'a.mcap'
    write_camera_bag(source, bag)
    (tmp_path / 'lost').mkdir()
    (tmp_path / 'lost' / 'lost_0.mcap').write_bytes(bag.read_bytes())
    images = image_folder / 'images'
    for path, options, message in (
            (tmp_path / 'no.mp4', {}, 'there is no .*check the path'),
            (tmp_path / 'lost', {}, r'no metadata\.yaml .*give the \.mcap'),
            (bag, {'fps': 10}, '--fps does not apply to a source of format bag'),
            (images, {'topic': '/x'}, '--topic does not apply to a source of format images'),
            (images, {'fps': 0}, 'give a rate above 0'),
            (images, {'format': 'camvid11'}, 'there is no folder'),
            ('street:x', {}, 'write street:SEED'), ('street:1:0', {}, 'at least one')):
        with pytest.raises(UserError, match=message):
            open_source(path, **options)


def test_a_data_set_of_several_videos_is_no_single_source(tmp_path):
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
        for name in ('a_1', 'b_1'):
            cv2.imwrite(str(tmp_path / kind / f'{name}.png'), np.zeros((4, 4), np.uint8))
    assert [s.name for s in open_sources(tmp_path, format='camvid11')] == ['a', 'b']
    with pytest.raises(UserError, match=r'holds 2 videos \(a, b\)'):
        open_source(tmp_path, format='camvid11')


@pytest.mark.parametrize(('encoding', 'tolerance'), [('rgb8', 0), ('jpeg', 12)])
def test_a_camera_bag_holds_frames_labels_and_names(tmp_path, source, encoding, tolerance):
    ticks = []
    count = write_camera_bag(source, tmp_path / 'a.mcap', encoding=encoding,
                             on_frame=lambda: ticks.append(1))
    assert count == len(ticks) == 8
    bag = open_source(tmp_path / 'a.mcap')
    assert bag.label_set is DRIVING
    for item, original in zip(bag, source, strict=True):
        assert item.frame.stamp == original.frame.stamp
        assert item.frame.frame_id == original.frame.frame_id
        assert np.array_equal(item.labels, original.labels)
        difference = item.frame.image.astype(int) - original.frame.image
        assert np.abs(difference).mean() <= tolerance


def test_labels_can_be_left_out_and_may_need_16_bits(tmp_path, list_source, frames):
    items = frames(2)
    for item in items:
        object.__setattr__(item, 'labels', item.labels.astype(np.uint16) + 300)
    source = list_source(items, LabelSet.from_names([f'c{i}' for i in range(400)]))
    write_camera_bag(source, tmp_path / 'a.mcap')
    bag = open_source(tmp_path / 'a.mcap')
    assert len(bag.label_set) == 400
    assert np.array_equal(next(iter(bag)).labels, items[0].labels)
    write_camera_bag(source, tmp_path / 'b.mcap', labels=False)
    assert next(iter(open_source(tmp_path / 'b.mcap'))).labels is None


def test_a_damaged_source_leaves_no_bag(tmp_path, image_folder, nothing_left):
    (image_folder / 'images' / 'f10.png').write_text('x')
    with pytest.raises(UserError, match='damaged'):
        write_camera_bag(open_source(image_folder / 'images'), tmp_path / 'a.mcap')
    nothing_left('folder')


MEMORY = """
import resource, sys
import numpy as np
from vseg_ros.frame import Frame
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.io.source import open_source
class Source:
    name, path, label_set, frame_count = 'noise', None, None, 0
    def __iter__(self):
        image = np.random.default_rng(0).integers(0, 256, (500, 1000, 3), np.uint8)
        for index in range(self.frame_count):
            yield LabelledFrame(Frame(image, index + 1))
source = Source()
for source.frame_count in (10, 60):
    write_camera_bag(source, sys.argv[1], encoding='rgb8')
    assert sum(1 for _ in open_source(sys.argv[1])) == source.frame_count
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize('name', ['a.mcap', 'a.db3'])
def test_memory_stays_flat(tmp_path, name):
    """75 MB more of frames pass through a process that does not grow by half of them."""
    done = subprocess.run([sys.executable, '-c', MEMORY, str(tmp_path / name)],
                          capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many - few < 35


def test_the_street_is_a_source():
    pytest.importorskip('vseg_ros.io.street')
    source = open_source('street:3:4', fps=20)
    assert (source.frame_count, source.label_set, source.name) == (4, DRIVING, 'street-3')
    first, second = list(source), list(source)
    assert len(first) == 4
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.frame.image, other.frame.image)
        assert one.labels.shape == one.frame.size
    assert first[1].frame.stamp - first[0].frame.stamp == 50_000_000


def test_real_bag_of_a_labelled_drive(tmp_path, real_data):
    source, = open_sources(real_data / 'camvid' / 'dense15hz', format='camvid11')
    write_camera_bag(source, tmp_path / 'a.mcap')
    bag = open_source(tmp_path / 'a.mcap')
    assert bag.frame_count == 61
    for item, original in zip(bag, source, strict=True):
        assert np.array_equal(item.labels, original.labels)
    assert os.listdir(tmp_path) == ['a.mcap']

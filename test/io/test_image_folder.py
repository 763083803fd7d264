from __future__ import annotations

import cv2
import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder, camvid11_sources, read_labels
from vseg_ros.labels import DRIVING

SECOND = 1_000_000_000


def test_images_come_in_natural_order_with_their_labels(image_folder):
    folder = ImageFolder(image_folder / 'images', image_folder / 'labels', fps=10)
    assert (folder.frame_count, folder.name) == (3, 'images')
    for _ in range(2):
        items = list(folder)
        assert [item.frame.image[0, 0, 0] for item in items] == [0, 40, 80]
        assert [item.frame.stamp for item in items] == [0, SECOND // 10, SECOND // 5]
        assert [None if i.labels is None else i.labels[0, 0] for i in items] == [0, None, 2]
    assert all(item.labels is None for item in ImageFolder(image_folder / 'images'))


def test_frames_can_be_read_by_number(image_folder):
    folder = ImageFolder(image_folder / 'images', image_folder / 'labels', fps=10)
    assert len(folder) == 3
    for index, item in enumerate(folder):
        for number in (index, index - 3):
            found = folder[number]
            assert found.frame.stamp == item.frame.stamp
            assert np.array_equal(found.frame.image, item.frame.image)
            assert (found.labels is None) == (item.labels is None)
            assert found.labels is None or np.array_equal(found.labels, item.labels)
    with pytest.raises(IndexError):
        folder[3]


def test_images_are_rgb_and_may_differ_in_size(tmp_path):
    cv2.imwrite(str(tmp_path / '1.png'), np.full((4, 6, 3), (10, 20, 30), np.uint8))
    cv2.imwrite(str(tmp_path / '2.JPG'), np.full((8, 8), 90, np.uint8))
    (tmp_path / 'notes.txt').write_text('x')
    frames = [item.frame for item in ImageFolder(tmp_path)]
    assert frames[0].image[0, 0].tolist() == [30, 20, 10]
    assert [f.size for f in frames] == [(4, 6), (8, 8)]


def test_labels_of_another_size_name_both_files(image_folder):
    label = image_folder / 'labels' / 'f10.png'
    cv2.imwrite(str(label), np.zeros((10, 30), np.uint8))
    with pytest.raises(UserError, match=r'f10\.png is 30x10, its image .*f10\.png is 30x20'):
        list(ImageFolder(image_folder / 'images', image_folder / 'labels'))


@pytest.mark.parametrize('content', [b'', b'no image', 'half'])
def test_a_broken_image_is_named(image_folder, content):
    path = image_folder / 'images' / 'f2.png'
    path.write_bytes(path.read_bytes()[:40] if content == 'half' else content)
    with pytest.raises(UserError, match=r'the image .*f2\.png is damaged'):
        list(ImageFolder(image_folder / 'images'))


def test_half_a_photograph_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: np.zeros((60, 60, 3), np.uint8))
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    for suffix in ('.jpg', '.png'):
        data = cv2.imencode(suffix, picture)[1].tobytes()
        path = tmp_path / f'a{suffix}'
        path.write_bytes(data[:len(data) // 2])
        with pytest.raises(UserError, match='damaged'):
            list(ImageFolder([path]))


def test_label_images_hold_ids(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((4, 4, 3), 9, np.uint8))
    with pytest.raises(UserError, match=r'a\.png is no map of ids: save one id a pixel'):
        read_labels(tmp_path / 'a.png')
    cv2.imwrite(str(tmp_path / 'b.png'), np.full((4, 4), 999, np.uint16))
    assert read_labels(tmp_path / 'b.png')[0, 0] == 999
    with pytest.raises(UserError, match='cannot read'):
        read_labels(tmp_path / 'c.png')


def test_missing_folders_and_labels_are_refused(image_folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    for arguments, message in (
            ((tmp_path / 'no',), 'there is no folder'), ((tmp_path / 'empty',), 'holds no image'),
            ((image_folder / 'images', tmp_path / 'no'), 'no folder of labels'),
            ((image_folder / 'images', tmp_path / 'empty'),
             r'no label image for .*f1\.png: name it f1\.png')):
        with pytest.raises(UserError, match=message):
            ImageFolder(*arguments)


@pytest.fixture
def camvid(tmp_path):
    for kind in ('images', 'labels'):
        (tmp_path / 'camvid' / kind).mkdir(parents=True)
    black = np.zeros((9, 12, 3), np.uint8)
    for name in ('0006R0_f00930', '0006R0_f00960', 'b_c_2', 'b_c_10'):
        cv2.imwrite(str(tmp_path / 'camvid/images' / f'{name}.jpg'), black)
        ids = np.arange(108, dtype=np.uint8).reshape(9, 12) % 12
        cv2.imwrite(str(tmp_path / 'camvid/labels' / f'{name}.png'), ids)
    return tmp_path / 'camvid'


def test_camvid_is_one_video_a_sequence_in_driving_classes(camvid):
    first, second = camvid11_sources(camvid)
    assert [first.name, second.name] == ['0006R0', 'b_c']
    assert [item.frame.stamp for item in first] == [0, SECOND]
    assert [item.frame.stamp for item in second] == [0, round(SECOND * 8 / 30)]
    assert [item.frame.stamp for item in camvid11_sources(camvid, 15)[1]] == [
        0, round(SECOND / 15)]
    labels = next(iter(first)).labels
    assert labels[0].tolist() == [9, 2, 5, 0, 1, 8, 7, 4, 12, 10, 11, 255]
    assert first.label_set is DRIVING


def test_other_names_are_no_camvid(camvid):
    (camvid / 'images' / 'b_c_2.jpg').rename(camvid / 'images' / 'b-two.jpg')
    with pytest.raises(UserError, match=r'b-two\.jpg is not named SEQUENCE_FRAME'):
        camvid11_sources(camvid)
    with pytest.raises(UserError, match='there is no folder'):
        camvid11_sources(camvid / 'images')


def test_real_camvid(real_data):
    dense, = camvid11_sources(real_data / 'camvid' / 'dense15hz')
    assert (dense.name, dense.frame_count) == ('0016E5', 61)
    items = [item for item, _ in zip(dense, range(3), strict=False)]
    assert np.allclose(np.diff([item.frame.stamp for item in items]), SECOND / 15, atol=2)
    assert items[0].labels.shape == items[0].frame.size == (360, 480)
    # The road is below, the sky above.
    assert np.median(items[0].labels[-60:]) == 0
    assert (items[0].labels[:20] == 9).any()
    assert len(camvid11_sources(real_data / 'camvid' / 'train')) == 3

"""What names the classes of a released checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from vseg_ros.class_names import ADE20K_NAMES, CITYSCAPES_NAMES, VSPW_NAMES
from vseg_ros.errors import UserError
from vseg_ros.models.released_classes import released_names


def test_by_their_number() -> None:
    assert released_names(None, 150) == ADE20K_NAMES
    assert released_names(None, 124) == VSPW_NAMES
    assert released_names(None, 19) == CITYSCAPES_NAMES


def test_by_data_set_and_by_file(tmp_path: Path) -> None:
    assert released_names('cityscapes', 19) == CITYSCAPES_NAMES
    file = tmp_path / 'names.txt'
    file.write_text('road\n lamp post \n\nZebrastreifen für Fußgänger\n', encoding='utf-8')
    assert released_names(str(file), 3) == ('road', 'lamp post', 'Zebrastreifen für Fußgänger')


@pytest.mark.parametrize(('classes', 'count', 'message'), [
    (None, 7, 'knows 7 classes, as none of ade20k, cityscapes, vspw does: give a file'),
    ('vspw', 150, 'knows 150 classes, but --classes vspw names 124'),
    ('nowhere.txt', 3, r'--classes nowhere\.txt: neither one of .* nor a readable file')])
def test_names_that_do_not_fit(classes: str | None, count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        released_names(classes, count)


def test_one_name_twice(tmp_path: Path) -> None:
    (tmp_path / 'names.txt').write_text('road\nsky\nroad\n')
    with pytest.raises(UserError, match="two classes are named 'road'"):
        released_names(str(tmp_path / 'names.txt'), 3)

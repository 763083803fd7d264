"""One way in for referring data sets."""

from __future__ import annotations

import pytest

from vseg_ros.datasets.referring_formats import REFERRING_FORMATS, open_referring
from vseg_ros.errors import UserError


@pytest.mark.parametrize('format', REFERRING_FORMATS)
def test_every_format_names_its_own_layout(tmp_path, format):
    with pytest.raises(UserError, match=f'{format} (has|is a folder)'):
        open_referring(tmp_path, format)


def test_an_unknown_format_is_told(tmp_path):
    with pytest.raises(UserError, match="no referring data set format 'a2d': choose one of ref-"):
        open_referring(tmp_path, 'a2d')

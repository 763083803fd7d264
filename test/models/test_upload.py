"""How an image gets to where the networks are."""

from __future__ import annotations

import numpy as np
import torch

from vseg_ros.models.upload import upload


def test_what_is_uploaded_shares_nothing_with_the_image() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    frozen = image.view()
    frozen.flags.writeable = False
    uploaded = upload(frozen, torch.device('cpu'))
    image[:] = 0
    assert (uploaded.dtype, uploaded.flatten().tolist()) == (torch.uint8, list(range(24)))


def test_an_image_may_run_backwards() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    uploaded = upload(image[:, ::2, ::-1], torch.device('cpu'))
    assert uploaded.is_contiguous()
    assert uploaded.flatten().tolist() == [2, 1, 0, 8, 7, 6, 14, 13, 12, 20, 19, 18]

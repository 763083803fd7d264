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

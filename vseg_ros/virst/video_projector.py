"""
From the vision tower's tokens to the language model's: merge similar ones, then two linear layers.

VideoChat-Flash (Li et al., *VideoChat-Flash: Hierarchical Compression for Long-Context Video
Modeling*, Sec. 3.1): a group of frames becomes 16 tokens a frame, a single image 64.
"""

from __future__ import annotations

from torch import Tensor, nn

from vseg_ros.virst.token_merging import merge_tokens

TOKENS_A_FRAME = 16
"""Tokens that a frame of a group gets in the language model."""

TOKENS_AN_IMAGE = 64
"""Tokens that an image alone gets."""


class VideoProjector(nn.Module):
    """
    Shorten and project the tokens of groups of frames.

    Args:
        vision_width: C, width of the vision tower's tokens.
        width: D, of the language model.
        heads: of the vision tower; similarity is measured on the mean over them.

    """

    def __init__(self, vision_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mlp = nn.Sequential(nn.Linear(vision_width, width), nn.GELU(),
                                 nn.Linear(width, width))

    def forward(self, tokens: Tensor, frames: int) -> Tensor:
        """
        Shorten and project.

        Args:
            tokens: float [G, N, C], of G groups.
            frames: number of frames in a group; 1 is an image.

        Returns:
            float [G, n, D], n the smaller of N and 16 a frame or 64 an image.

        """
        target = TOKENS_AN_IMAGE if frames == 1 else TOKENS_A_FRAME * frames
        merged = merge_tokens(tokens, min(target, tokens.shape[1]), self.heads)
        projected: Tensor = self.mlp(merged)
        return projected

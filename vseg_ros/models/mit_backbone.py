"""
SegFormer's MiT encoder in the place of Hiera, as the image encoder's backbone of a SAM 2.

MiT has what SAM 2's feature pyramid asks for: four maps at strides 4, 8, 16 and 32. An encoder
that was trained to tell classes apart (that of driving-b0) so lends its features to a small SAM 2,
which then needs training for its prompts, masks and memory alone. Importing this file makes the
backbone known to transformers, under `vseg_mit` in a checkpoint's configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    SegformerConfig,
    SegformerModel,
)
from transformers.utils.generic import ModelOutput

from vseg_ros.models.segformer import SEGFORMER_VARIANTS


class MitBackboneConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """
    Which MiT it is.

    Args:
        variant: 'b0' to 'b5'.

    """

    model_type = 'vseg_mit'

    def __init__(self, variant: str = 'b0', **kwargs: Any) -> None:
        self.variant = variant
        super().__init__(**kwargs)

    @property
    def segformer(self) -> SegformerConfig:
        """The encoder's own configuration."""
        return SegformerConfig.from_dict(dict(SEGFORMER_VARIANTS[self.variant]))

    @property
    def widths(self) -> list[int]:
        """Channels of the four maps, finest first."""
        return list(self.segformer.hidden_sizes)


@dataclass
class MitBackboneOutput(ModelOutput):
    """
    The four maps, laid out as SAM 2's neck reads them.

    Attributes:
        last_hidden_state: [B, H/32, W/32, C].
        intermediate_hidden_states: [B, H/s, W/s, C] each, for s = 4, 8, 16, 32.
        hidden_states: None; here for the form.
        attentions: None; here for the form.

    """

    last_hidden_state: Tensor | None = None
    intermediate_hidden_states: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MitBackboneModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """The encoder; its weights are named as in transformers' `SegformerModel`."""

    config_class = MitBackboneConfig
    config: MitBackboneConfig
    main_input_name = 'pixel_values'

    def __init__(self, config: MitBackboneConfig) -> None:
        super().__init__(config)
        self.segformer = SegformerModel(config.segformer)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, pixel_values: Tensor, **_: Any) -> MitBackboneOutput:
        """Encode normalised images, [B, 3, H, W], whose sides are multiples of 32."""
        encoded = self.segformer(pixel_values, output_hidden_states=True, return_dict=True)
        maps = tuple(each.permute(0, 2, 3, 1) for each in encoded.hidden_states)
        return MitBackboneOutput(last_hidden_state=maps[-1], intermediate_hidden_states=maps)


AutoConfig.register(MitBackboneConfig.model_type, MitBackboneConfig, exist_ok=True)
AutoModel.register(MitBackboneConfig, MitBackboneModel, exist_ok=True)

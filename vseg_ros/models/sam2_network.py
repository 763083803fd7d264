"""
SAM 2's video model, one step at a time and for many objects at once.

transformers' model walks through the objects one by one, and upsamples four mask candidates of
each to full size where one is used. Here its submodules are called with the objects of a frame as
the batch; for one object every step equals transformers' own (Ravi et al., *SAM 2: Segment
Anything in Images and Videos*, Sec. 4). EdgeTAM shares all steps; its spatial perceiver shortens
the memories (Zhou et al., *EdgeTAM*, Sec. 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import EdgeTamVideoModel, Sam2VideoModel

from vseg_ros.models.memory_layout import channels_last
from vseg_ros.models.sam2_attention import MemoryAttention
from vseg_ros.models.sam2_memory import Recollection

# Logits of a pixel that is surely outside, where the object is hidden and where a mask is given.
HIDDEN_LOGIT = -1024.0
GIVEN_SCALE, GIVEN_BIAS = 20.0, -10.0
# Deviation of a painted point, in pixels of the model's square.
SPOT = 10.0


class ImageFeatures(NamedTuple):
    """
    What the image encoder makes of B frames, mostly one; (h, w) is the model's side / 16.

    Attributes:
        fine: [B, C/8, 4h, 4w].
        medium: [B, C/4, 2h, 2w].
        tokens: [hw, B, C].

    """

    fine: Tensor
    medium: Tensor
    tokens: Tensor


class Segmented(NamedTuple):
    """
    B objects on one frame.

    Attributes:
        logits: [B, 1, 4h, 4w], above 0 inside the object.
        pointers: [B, C].
        scores: [B, 1], above 0 if the object is visible.
        seen: [B, 1, 4h, 4w], the logits as if every object were visible.
        qualities: [B], the IoU that the model expects of each mask, 0..1.

    """

    logits: Tensor
    pointers: Tensor
    scores: Tensor
    seen: Tensor
    qualities: Tensor


class Sam2Network:
    """
    The steps of SAM 2.

    Args:
        model: in evaluation mode, on the device it shall run on.
        attention: in which number format SAM 2's memory attention multiplies; None takes that of
            the model.

    """

    def __init__(self, model: Sam2VideoModel | EdgeTamVideoModel,
                 attention: torch.dtype | None = None) -> None:
        # transformers types submodules as `Tensor | Module`, which cannot be called.
        self._model = channels_last(cast(Any, model))
        self._config = self._model.config
        self._perceiver = getattr(self._model, 'spatial_perceiver', None)
        self._memory_attention = (MemoryAttention(self._model.memory_attention, attention)
                                  if self._perceiver is None else None)
        self._places: Tensor = self._model.get_image_wide_positional_embeddings()
        self._token_places: Tensor | None = None
        self._memory_places: Tensor | None = None
        self.side: int = self._model.image_size
        self.paints_points = bool(getattr(self._config, 'paints_points', False))
        # 16 pixels of the image are a token
        self.memory_side: int = self.side // 16 * self._config.mask_downsampler_total_stride
        self.spatial_memories: int = self._model.num_maskmem
        self.pointers: int = self._config.max_object_pointers_in_encoder

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = self._model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the model."""
        dtype: torch.dtype = self._model.dtype
        return dtype

    @property
    def backbone(self) -> nn.Module:
        """The image encoder without its neck."""
        backbone: nn.Module = self._model.vision_encoder.backbone
        return backbone

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Run the image encoder on [B, 3, side, side]."""
        return self.encode_maps(self.encode_backbone(pixels))

    def encode_backbone(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone alone: [B, 3, side, side] to [B, h_i, w_i, C_i], finest first."""
        encoded = self.backbone(pixels)
        if hasattr(encoded, 'intermediate_hidden_states'):
            return tuple(encoded.intermediate_hidden_states)
        # EdgeTAM's backbone comes from timm, channels first
        return tuple(each.permute(0, 2, 3, 1) for each in encoded.last_hidden_state)

    def encode_maps(self, maps: Sequence[Tensor]) -> ImageFeatures:
        """Go on from the backbone's maps, [B, h_i, w_i, C_i] each, finest first."""
        neck, decoder = self._model.vision_encoder.neck, self._model.mask_decoder
        levels = [each.permute(0, 3, 1, 2) for each in maps]
        # only the coarse levels are summed; the others can be narrowed at once
        fine = one_convolution(levels[0], neck.convs[3], decoder.conv_s0)
        medium = one_convolution(levels[1], neck.convs[2], decoder.conv_s1)
        above = F.interpolate(neck.convs[0](levels[3]).float(), scale_factor=2.0)
        tokens = neck.convs[1](levels[2])
        tokens = tokens + above.to(tokens.dtype)
        places = neck.position_encoding((1, *tokens.shape[1:]), tokens.device, tokens.dtype)
        self._token_places = places.to(tokens.dtype).flatten(2).permute(2, 0, 1)
        return ImageFeatures(fine, medium, tokens.flatten(2).permute(2, 0, 1))

    def segment_points(self, features: ImageFeatures, points: Tensor, labels: Tensor) -> Segmented:
        """
        Find an object by points on each of B frames.

        Args:
            features: of the frames.
            points: float32 [B, 1, n, 2], (x, y) in pixels of the model's square.
            labels: int [B, 1, n], 1 on the object and 0 outside of it.

        """
        conditioned = self._map(features.tokens + self._model.no_memory_embedding)
        painted = (paint_points(points, labels, self.side).to(self.dtype) if self.paints_points
                   else None)
        sparse, dense = self._prompt(points, labels, painted)
        several = self._several_masks(labels.shape[2])
        return self._decode(features, conditioned, sparse, dense, several)

    def segment_prompts(self, features: ImageFeatures, prompts: Tensor,
                        several: bool = False, coarse: Tensor | None = None) -> Segmented:
        """
        Find objects by embeddings that stand where those of points or boxes would.

        Args:
            features: of one frame, or of B frames.
            prompts: [B, N, C], N tokens an object.
            several: whether the best of three candidates counts instead of the single mask.
            coarse: [B, g, g], 0..1, about where each object is, as a mask prompt; None gives
                none.

        """
        conditioned = self._map(features.tokens + self._model.no_memory_embedding)
        if coarse is not None:
            size = self._model.prompt_encoder.mask_input_size
            coarse = F.interpolate(coarse[:, None].float(), size, mode='bilinear',
                                   align_corners=False).to(self.dtype)
        _, dense = self._prompt(None, None, coarse)
        return self._decode(features, conditioned.expand(len(prompts), -1, -1, -1),
                            prompts[:, None].to(self.dtype), dense, several)

    def segment_mask(self, features: ImageFeatures, mask: Tensor) -> Segmented:
        """Take an object of each of B frames by its mask, [B, 1, side, side] of 0 and 1."""
        sparse, dense = self._prompt(None, None, self._model.mask_downsample(mask))
        decoded = self._decode(features, self._map(features.tokens),
                               sparse.expand(len(mask), -1, -1, -1), dense,
                               bool(self._config.multimask_output_in_sam))
        visible = (mask.flatten(1) > 0).any(dim=1, keepdim=True).to(mask.dtype)
        size = self._model.prompt_encoder.mask_input_size
        logits = F.interpolate((mask * GIVEN_SCALE + GIVEN_BIAS).float(), size, mode='bilinear',
                               align_corners=False, antialias=True).to(mask.dtype)
        return Segmented(logits, self._hide(decoded.pointers, visible),
                         visible * GIVEN_SCALE + GIVEN_BIAS, logits, decoded.qualities)

    def segment_remembered(self, features: ImageFeatures,
                           memories: Sequence[Recollection]) -> Segmented:
        """Find objects by their memories, which must have one layout."""
        sparse, dense = self._prompt(None, None, None)
        conditioned = self._attend(features, memories)
        return self._decode(features, conditioned, sparse.expand(len(memories), -1, -1, -1),
                            dense, self._several_masks(0, prompted=False))

    def memory_masks(self, logits: Tensor) -> Tensor:
        """Bring logits [B, 1, n, n] to the size that `encode_memory` takes."""
        size = (self.memory_side, self.memory_side)
        if logits.shape[-2:] == size:
            return logits
        smaller = logits.shape[-1] > self.memory_side
        return F.interpolate(logits.float(), size, mode='bilinear', align_corners=False,
                             antialias=smaller).to(logits.dtype)

    def encode_memory(self, features: ImageFeatures, masks: Tensor, scores: Tensor,
                      prompted: bool) -> Tensor:
        """
        Make spatial memories of a frame.

        Args:
            features: of the frame.
            masks: [B, 1, n, n], logits, of the size that `memory_masks` gives.
            scores: [B, 1], above 0 if the object is visible.
            prompted: whether the masks stem from prompts; they then count as certain.

        Returns:
            [B, M, D], a token a place.

        """
        certain = (masks > 0).to(masks.dtype) if prompted else torch.sigmoid(masks)
        scaled = (certain * self._config.sigmoid_scale_for_mem_enc
                  + self._config.sigmoid_bias_for_mem_enc)
        image = self._map(features.tokens).expand(len(masks), -1, -1, -1)
        memories, places = self._model.memory_encoder(image, scaled)
        hidden = self._model.occlusion_spatial_embedding_parameter
        if hidden is not None:
            memories = memories + ((scores <= 0).to(hidden.dtype) * hidden)[..., None, None]
        if self._perceiver is not None:
            # The perceiver cannot take a batch, unlike all else.
            shortened = [self._perceiver(memory[None], places[:1].to(masks.dtype))
                         for memory in memories]
            self._memory_places = shortened[0][1].flatten(0, -2)
            return torch.cat([memory for memory, _ in shortened]).to(masks.dtype)
        self._memory_places = places[0].flatten(1).T.to(masks.dtype)
        # The published models were trained on memories stored in half precision.
        stored: Tensor = memories.to(torch.bfloat16).flatten(2).transpose(1, 2).contiguous()
        return stored

    def _attend(self, features: ImageFeatures, memories: Sequence[Recollection]) -> Tensor:
        """Let the frame attend to B memories of one layout; returns [B, C, h, w]."""
        batch = len(memories)
        spatial = torch.stack([torch.cat(m.spatial) for m in memories]).to(self.dtype)
        assert self._memory_places is not None
        ages = self._model.memory_temporal_positional_encoding[:, 0]
        places = torch.cat([self._memory_places + ages[offset - 1]
                            for offset in memories[0].offsets]).expand(batch, -1, -1)
        pointers, pointer_ages = self._pointer_tokens(memories)
        memory, memory_places = (torch.cat(parts, dim=1) for parts in (
            (spatial, pointers), (places, pointer_ages)))
        if self._memory_attention is not None:
            assert self._token_places is not None
            return self._map(self._memory_attention(
                features.tokens.expand(-1, batch, -1), self._token_places, memory, memory_places,
                pointers.shape[1]).transpose(0, 1))
        attended = self._model.memory_attention(
            current_vision_features=features.tokens.expand(-1, batch, -1),
            current_vision_position_embeddings=self._token_places,
            memory=memory.transpose(0, 1),
            memory_posision_embeddings=memory_places.transpose(0, 1),
            num_object_pointer_tokens=pointers.shape[1],
            num_spatial_memory_tokens=len(memories[0].offsets))
        return self._map(attended[0].transpose(0, 1))

    def _pointer_tokens(self, memories: Sequence[Recollection]) -> tuple[Tensor, Tensor]:
        """Cut pointers into tokens of the memory's width: two [B, P C/D, D], tokens and ages."""
        width = self._model.mem_dim
        if not memories[0].pointers:
            nothing = torch.zeros(len(memories), 0, width, device=self.device, dtype=self.dtype)
            return nothing, nothing
        pointers = torch.stack([torch.stack(m.pointers) for m in memories])
        parts = pointers.shape[2] // width
        tokens = pointers.reshape(len(memories), -1, width)
        if not self._config.enable_temporal_pos_encoding_for_object_pointers:
            return tokens, torch.zeros_like(tokens)
        offsets = torch.tensor([m.pointer_offsets for m in memories], dtype=torch.float32,
                               device=self.device)
        waves = sine_encoding(offsets / (self.pointers - 1), pointers.shape[2])
        ages = self._model.temporal_positional_encoding_projection_layer(waves.to(self.dtype))
        return tokens, ages.repeat_interleave(parts, dim=1)

    def _prompt(self, points: Tensor | None, labels: Tensor | None,
                mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encode one prompt; without points, SAM's mark for no point stands in."""
        if points is None:
            points = torch.zeros(1, 1, 1, 2, device=self.device)
            labels = -torch.ones(1, 1, 1, dtype=torch.int32, device=self.device)
        sparse, dense = self._model.prompt_encoder(
            input_points=points.to(self.dtype), input_labels=labels, input_boxes=None,
            input_masks=mask)
        return sparse, dense

    def _several_masks(self, points: int, prompted: bool = True) -> bool:
        """Decide whether an ambiguous prompt gets several candidates, of which the best counts."""
        config = self._config
        return bool(config.multimask_output_in_sam
                    and (prompted or config.multimask_output_for_tracking)
                    and config.multimask_min_pt_num <= points <= config.multimask_max_pt_num)

    def _decode(self, features: ImageFeatures, conditioned: Tensor, sparse: Tensor,
                dense: Tensor, several: bool) -> Segmented:
        """Run the mask decoder on [B, C, h, w] and keep the best candidate of each object."""
        masks, qualities, tokens, scores = self._model.mask_decoder(
            image_embeddings=conditioned,
            image_positional_embeddings=self._places.expand(len(conditioned), -1, -1, -1),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
            multimask_output=several,
            high_resolution_features=[features.fine, features.medium])
        batch = torch.arange(len(conditioned), device=self.device)
        best = qualities[:, 0].argmax(dim=-1)
        seen = masks[batch, 0, best][:, None]
        visible = scores[:, 0] > 0
        logits = torch.where(visible[..., None, None], seen, HIDDEN_LOGIT)
        pointers = self._model.object_pointer_proj(tokens[batch, 0, best])
        return Segmented(logits, self._hide(pointers, visible.to(pointers.dtype)), scores[:, 0],
                         seen, qualities[batch, 0, best])

    def _hide(self, pointers: Tensor, visible: Tensor) -> Tensor:
        """Replace the pointers [B, C] of objects that are not visible ([B, 1], 0 or 1)."""
        hidden: Tensor = self._model.no_object_pointer
        return visible * pointers + (1 - visible) * hidden

    def _map(self, tokens: Tensor, level: int = -1) -> Tensor:
        """Lay tokens [hw, B, C] of a feature level out as a map [B, C, h, w]."""
        height, width = self._model.backbone_feature_sizes[level]
        laid_out: Tensor = tokens.permute(1, 2, 0).reshape(*tokens.shape[1:], height, width)
        return laid_out


def paint_points(points: Tensor, labels: Tensor, side: int) -> Tensor:
    """
    Paint points as soft spots, for a small model that is given them as a mask prompt too.

    Args:
        points: float [B, 1, n, 2], (x, y) in pixels of the model's square.
        labels: int [B, 1, n], 1 on the object and 0 outside of it.
        side: of the square.

    Returns:
        [B, 1, side / 4, side / 4], up to 1 around points on the object, down to -1 around others.

    """
    places = (torch.arange(side // 4, device=points.device) + 0.5) * 4 - 0.5
    across = (places - points[:, 0, :, :1]) / SPOT
    down = (places - points[:, 0, :, 1:]) / SPOT
    spots = torch.exp(-(across[:, :, None] ** 2 + down[..., None] ** 2) / 2)
    signs = (2 * labels[:, 0] - 1).to(spots.dtype)
    return (spots * signs[..., None, None]).sum(1, keepdim=True)


def one_convolution(maps: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """Run two 1x1 convolutions in a row as the one that they amount to."""
    weight = second.weight[:, :, 0, 0] @ first.weight[:, :, 0, 0]
    assert first.bias is not None
    assert second.bias is not None
    bias = second.weight[:, :, 0, 0] @ first.bias + second.bias
    return F.conv2d(maps.to(weight.dtype), weight[..., None, None], bias)


def sine_encoding(positions: Tensor, width: int) -> Tensor:
    """
    Encode positions by sines and cosines of falling frequency.

    Args:
        positions: float32 of any shape.
        width: even length of an encoding.

    Returns:
        float32 [..., width], first all sines, then all cosines.

    """
    half = width // 2
    exponents = 2 * (torch.arange(half, device=positions.device) // 2) / half
    angles = positions[..., None] / torch.pow(10000, exponents)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)

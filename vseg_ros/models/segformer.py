"""
SegFormer (Xie et al. 2021) through transformers, cut into backbone and decoder.

The decoder's weights and state are those of transformers' `SegformerDecodeHead`; its arithmetic
is reordered. A level's linear, the 1x1 fusion and bilinear upsampling are all linear, so

    fuse(concat_i up(W_i x_i + b_i)) = sum_i up((F_i W_i) x_i) + sum_i F_i b_i

and the product F_i W_i is applied *before* upsampling, at a fraction of the pixels. The result
is the same to rounding, in training as in inference, and the head is several times faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from vseg_ros.labels import LabelSet
from vseg_ros.models.bilinear import interpolation, kept_interpolation
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter


class SegformerBackbone(nn.Module):
    """The hierarchical MiT encoder: four feature maps at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Features:
        """Encode normalised images, float [B, 3, H, W]."""
        output = self.encoder(images, output_hidden_states=True, return_dict=True)
        return tuple(output.hidden_states)


class SegformerDecoder(nn.Module):
    """
    The all-MLP decoder, fused before upsampling.

    Args:
        head: transformers' `SegformerDecodeHead`; its parameters are shared, not copied.

    """

    def __init__(self, head: SegformerDecodeHead) -> None:
        super().__init__()
        self.head = head
        self.embedding_width: int = head.classifier.in_channels

    def fused_projections(self) -> tuple[list[Tensor], Tensor]:
        """
        Fold each level's linear into its block of the fusion.

        Returns:
            one matrix [D, C_i] a level, finest first, and the summed bias [D].

        """
        head = self.head
        # transformers concatenates the levels coarsest first
        blocks = head.linear_fuse.weight[:, :, 0, 0].chunk(len(head.linear_projections), 1)[::-1]
        matrices, biases = [], []
        for block, level in zip(blocks, head.linear_projections, strict=True):
            projection = level.get_submodule('proj')
            matrices.append(block @ projection.get_parameter('weight'))
            biases.append(block @ projection.get_parameter('bias'))
        return matrices, torch.stack(biases).sum(0)

    def forward(self, features: Features) -> Decoded:
        """Decode the four feature maps into embedding and logits at 1/4 resolution."""
        head = self.head
        matrices, bias = self.fused_projections()
        fuse = fuse_levels_by_products if bias.device.type == 'cpu' else fuse_levels
        embedding = head.activation(head.batch_norm(fuse(features, matrices, bias)))
        if not self.training:
            return Decoded(embedding, head.classifier(embedding))
        # whole channels are dropped, as in the reference decoder heads; dropping the classifier's
        # columns is the same and leaves the large map alone
        kept = F.dropout(embedding.new_ones(len(embedding), 1, embedding.shape[1]), head.dropout.p)
        offset = head.classifier.bias
        assert offset is not None
        weights = head.classifier.weight[:, :, 0, 0] * kept
        logits = torch.baddbmm(offset[:, None], weights, embedding.flatten(2))
        return Decoded(embedding, logits.view(*logits.shape[:2], *embedding.shape[2:]))

    def fold(self) -> FoldedSegformerDecoder:
        """Make the frozen decoder, batch normalisation folded into the matrices too."""
        norm, classifier = self.head.batch_norm, self.head.classifier
        assert norm.running_var is not None
        assert norm.running_mean is not None
        assert classifier.bias is not None
        matrices, bias = self.fused_projections()
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return FoldedSegformerDecoder(
            [scale[:, None] * matrix for matrix in matrices],
            (bias - norm.running_mean) * scale + norm.bias,
            classifier.weight[:, :, 0, 0], classifier.bias)


class FoldedSegformerDecoder(nn.Module):
    """
    The decoder as four matrices, a bias and the classifier: what a frozen model runs.

    Args:
        matrices: one [D, C_i] a level, finest first.
        bias: [D].
        classifier: [C, D].
        classifier_bias: [C].

    """

    def __init__(self, matrices: list[Tensor], bias: Tensor, classifier: Tensor,
                 classifier_bias: Tensor) -> None:
        super().__init__()
        self.levels = len(matrices)
        for name, value in zip(self.weight_names(self.levels),
                               [*matrices, bias, classifier, classifier_bias], strict=True):
            self.register_buffer(name, value.detach().clone())

    @staticmethod
    def weight_names(levels: int) -> list[str]:
        """Names of the weights, in the order that `decode_folded` takes them."""
        return [*(f'level{i}' for i in range(levels)), 'bias', 'classifier', 'classifier_bias']

    def weights(self) -> list[Tensor]:
        """Return the weights in the order of `weight_names`."""
        return [getattr(self, name) for name in self.weight_names(self.levels)]

    def forward(self, features: Features) -> Decoded:
        """Decode the four feature maps into embedding and logits at 1/4 resolution."""
        by_products = len(features[0]) == 1 and not features[0].is_cuda
        return (decode_by_products if by_products else decode_folded)(features, self.weights())


def fuse_levels(features: Features, matrices: Sequence[Tensor], bias: Tensor) -> Tensor:
    """Project every level, upsample to the finest and sum: float [B, D, h, w]."""
    size = features[0].shape[-2:]
    fused = F.conv2d(features[0], matrices[0][..., None, None], bias)
    for feature, matrix in zip(features[1:], matrices[1:], strict=True):
        level = F.conv2d(feature, matrix[..., None, None])
        fused = fused + F.interpolate(level, size=size, mode='bilinear', align_corners=False)
    return fused


def fuse_levels_by_products(features: Features, matrices: Sequence[Tensor], bias: Tensor,
                            ) -> Tensor:
    """
    Compute what `fuse_levels` does; on a CPU the faster way, forwards and back.

    All levels are upsampled along the second axis each, and along the first in one product.
    """
    fine = features[0]
    batch, (height, width) = len(fine), fine.shape[-2:]
    fused = torch.baddbmm(bias[:, None], matrices[0].expand(batch, -1, -1), fine.flatten(2))
    wide = [(matrix @ level.flatten(2)).view(batch, -1, *level.shape[-2:])
            @ kept_interpolation(width, level.shape[-1], fine.dtype).T
            for level, matrix in zip(features[1:], matrices[1:], strict=True)]
    tall = torch.cat([kept_interpolation(height, level.shape[-2], fine.dtype)
                      for level in features[1:]], 1)
    return fused.view(batch, -1, height, width) + tall @ torch.cat(wide, 2)


def decode_folded(features: Features, weights: Sequence[Tensor]) -> Decoded:
    """Run the folded decoder with weights given as arguments (so that a graph can take them)."""
    *matrices, bias, classifier, classifier_bias = weights
    embedding = F.relu(fuse_levels(features, matrices, bias))
    return Decoded(embedding, F.conv2d(embedding, classifier[..., None, None], classifier_bias))


def decode_by_products(features: Features, weights: Sequence[Tensor]) -> Decoded:
    """
    Compute what `decode_folded` does for one image; on a CPU the faster way, without gradients.

    Maps are channels last in memory, as the backbone's tokens are and as DiTTA's add-on reads
    them. Bilinear upsampling is a product with `interpolation` along each axis, of all levels at
    once along the second. The largest map is written in place: it does not fit in the cache.
    """
    *matrices, bias, classifier, classifier_bias = weights
    fine, *coarse = (feature[0].permute(1, 2, 0) for feature in features)
    embedding = F.linear(fine, matrices[0], bias)
    height, width = embedding.shape[:2]
    levels = [F.linear(level, matrix) for level, matrix in zip(coarse, matrices[1:], strict=True)]
    rows = torch.cat([interpolation(width, level.shape[1], level.dtype) @ level
                      for level in levels])
    down = torch.cat([interpolation(height, level.shape[0], level.dtype) for level in levels], 1)
    embedding.view(height, -1).addmm_(down, rows.flatten(1)).relu_()
    logits = F.linear(embedding, classifier, classifier_bias)
    return Decoded(embedding.permute(2, 0, 1)[None], logits.permute(2, 0, 1)[None])


def adapt_segformer(model: SegformerForSemanticSegmentation, label_set: LabelSet,
                    ) -> ImageSegmenter:
    """Cut a transformers SegFormer into backbone and decoder; parameters are shared."""
    return ImageSegmenter(SegformerBackbone(model.segformer), SegformerDecoder(model.decode_head),
                          label_set)


def new_segformer(label_set: LabelSet, variant: str = 'b0') -> ImageSegmenter:
    """
    Make a SegFormer with random weights.

    Args:
        label_set: the classes to predict.
        variant: MiT size, 'b0' to 'b5'.

    """
    config = SegformerConfig.from_dict({
        **SEGFORMER_VARIANTS[variant], 'id2label': dict(enumerate(label_set.names)),
        'label2id': {name: i for i, name in enumerate(label_set.names)}})
    model = SegformerForSemanticSegmentation(config)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            # transformers starts all convolutions at std 0.02, meant for weights that are loaded;
            # a depthwise 3x3 needs the fan-out rule to pass anything on when trained from scratch
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            module.weight.data *= module.groups ** 0.5
    return adapt_segformer(model, label_set)


SEGFORMER_VARIANTS: dict[str, dict[str, object]] = {
    'b0': {'hidden_sizes': [32, 64, 160, 256], 'depths': [2, 2, 2, 2],
           'decoder_hidden_size': 256},
    'b1': {'hidden_sizes': [64, 128, 320, 512], 'depths': [2, 2, 2, 2],
           'decoder_hidden_size': 256},
    'b2': {'hidden_sizes': [64, 128, 320, 512], 'depths': [3, 4, 6, 3],
           'decoder_hidden_size': 768},
    'b3': {'hidden_sizes': [64, 128, 320, 512], 'depths': [3, 4, 18, 3],
           'decoder_hidden_size': 768},
    'b4': {'hidden_sizes': [64, 128, 320, 512], 'depths': [3, 8, 27, 3],
           'decoder_hidden_size': 768},
    'b5': {'hidden_sizes': [64, 128, 320, 512], 'depths': [3, 6, 40, 3],
           'decoder_hidden_size': 768},
}
"""MiT sizes of the SegFormer paper (Table 6); everything else is transformers' default."""

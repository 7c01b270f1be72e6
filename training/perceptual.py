"""What pictures are compared by besides pixels: the identity encoder, and VGG-16 where its weights are found.

Without VGG weights the perceptual loss uses the identity encoder's own maps (ours); `source` says which, and every
run prints it. Put torchvision's vgg16-397923af.pth into $SAMAE_WEIGHTS to get the paper's loss.
"""

import inspect
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from faces.errors import SamaeError
from faces.identity.registry import refuse_judge
from training.config import Recipe
from training.losses import feature_distance, identity_distance
from training.methods.base import EncoderLike
from training.networks.vgg import FILES, load_vgg, vgg_path

Maps = list[torch.Tensor]


class FrozenFeatures:
    """The identity encoder and the perceptual network behind one call, so that a shared network runs once.

    Attributes:
        source: "vgg16" or "the identity encoder NAME": what the perceptual loss compares.
    """

    def __init__(self, encoder: EncoderLike, vgg: nn.Module | None, layers: int = 3) -> None:
        self.encoder, self.vgg, self.layers = encoder, vgg, layers
        self.network: nn.Module | None = getattr(encoder, "network", None)
        self.source = "vgg16" if vgg is not None else f"the identity encoder {encoder.name}"

    @property
    def has_maps(self) -> bool:
        """False when neither VGG nor the encoder can give feature maps (an ONNX recogniser)."""
        return self.vgg is not None or self.network is not None

    def __call__(self, pictures: torch.Tensor, landmarks_px: torch.Tensor) -> tuple[torch.Tensor, Maps]:
        """(N, 3, S, S) 0..1 and (N, 68, 2) px -> unit embeddings (N, M) and perceptual maps, both differentiable."""
        if self.network is None:
            return self.encoder.embed_tensor(pictures, landmarks_px), self._vgg_maps(pictures)
        maps = self._encoder_maps(pictures, landmarks_px)
        embedding = F.normalize(self.network.head(maps[-1]).float(), dim=1)  # type: ignore[operator]
        return embedding, self._vgg_maps(pictures) if self.vgg is not None else maps[: self.layers]

    def maps(self, pictures: torch.Tensor, landmarks_px: torch.Tensor) -> Maps:
        """The perceptual maps alone."""
        if self.vgg is not None:
            return self._vgg_maps(pictures)
        return self._encoder_maps(pictures, landmarks_px)[: self.layers]

    def _encoder_maps(self, pictures: torch.Tensor, landmarks_px: torch.Tensor) -> Maps:
        crops = self.encoder.crops(pictures, landmarks_px)  # type: ignore[attr-defined]
        return self.network.features(crops.contiguous(memory_format=torch.channels_last))  # type: ignore[union-attr,operator]

    def _vgg_maps(self, pictures: torch.Tensor) -> Maps:
        return self.vgg(pictures) if self.vgg is not None else []


def frozen_features(encoder: EncoderLike, recipe: Recipe, device: torch.device) -> FrozenFeatures:
    """The features of a recipe; SamaeError when the encoder judges, or cannot give what the recipe weighs."""
    refuse_judge(encoder.name, recipe.name)
    path = vgg_path()
    features = FrozenFeatures(encoder, load_vgg(path).to(device) if path else None)
    if recipe.losses.perceptual > 0 and not features.has_maps:
        raise SamaeError(
            f"the encoder {encoder.name!r} gives no feature maps and VGG's weights are missing: put {FILES[1]} "
            "into a folder named by SAMAE_WEIGHTS, or train with --set losses.perceptual=0"
        )
    if features.network is None and recipe.losses.identity > 0 and not _is_differentiable(encoder):
        raise SamaeError(
            f"gradients cannot pass through the encoder {encoder.name!r} (its ONNX graph has operators that torch does "
            "not run here, or the package onnx is missing): choose "
            "--set identity.encoder=builtin, a .safetensors encoder, or --set losses.identity=0"
        )
    return features


class HasFeatures(Protocol):
    """A method with a recipe and frozen features."""

    recipe: Recipe
    features: FrozenFeatures


def feature_terms(
    method: HasFeatures,
    made: torch.Tensor,
    truth: torch.Tensor,
    landmarks_px: torch.Tensor,
    identity: torch.Tensor,
    positions: Sequence[int],
) -> dict[str, torch.Tensor]:
    """The identity and perceptual terms of those pictures whose position is a multiple of `feature_stride`.

    made, truth (N, 3, S, S) 0..1, landmarks (N, 68, 2) px of both, identity (N, M) wanted; no term when both weigh 0.
    The means over the chosen pictures are weighed by how many these are of the N / feature_stride to be expected: so
    a share of a batch without one has terms, too, which are 0, and equal shares have the whole batch's mean.
    """
    weights = method.recipe.losses
    names = ["identity", *(["perceptual"] if weights.perceptual > 0 else [])]
    rows = [row for row, position in enumerate(positions) if position % weights.feature_stride == 0]
    if weights.perceptual == weights.identity == 0:
        return {}
    if not rows:
        return {name: made.new_zeros(()) for name in names}
    embedding, maps = method.features(made[rows], landmarks_px[rows])
    terms = {"identity": identity_distance(embedding, identity[rows])}
    if weights.perceptual > 0:
        with torch.no_grad():
            wanted = method.features.maps(truth[rows], landmarks_px[rows])
        terms["perceptual"] = feature_distance(maps, wanted)
    share = len(rows) * weights.feature_stride / len(positions)
    return {name: terms[name] * share for name in names}


def _is_differentiable(encoder: EncoderLike) -> bool:
    return bool(getattr(encoder, "differentiable", "onnx" not in inspect.getmodule(type(encoder)).__name__))  # type: ignore[union-attr]

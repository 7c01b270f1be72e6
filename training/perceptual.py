"""What pictures are compared by besides pixels: the identity encoder, and VGG-16 where its weights are found.

Without VGG weights the perceptual loss compares maps of the encoder `builtin` (ours), whatever encoder the recipe
names, so that recipes which differ in the encoder have one perceptual loss; `source` says which, and every run prints
it. Put torchvision's vgg16-397923af.pth into $SAMAE_WEIGHTS to get the paper's loss.
"""

import inspect
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from faces.errors import SamaeError
from faces.identity.registry import load_encoder, refuse_judge
from training.config import Recipe
from training.losses import feature_distance, identity_distance
from training.methods.base import EncoderLike
from training.networks.vgg import load_vgg, vgg_path

#: Whose maps are compared without VGG.
WATCHER = "builtin"
Maps = list[torch.Tensor]


class FrozenFeatures:
    """The identity encoder and the perceptual network behind one call, so that a shared network runs once.

    Args:
        watcher: the encoder whose maps are compared without VGG; None is `encoder` itself.
    Attributes:
        source: "vgg16" or "the identity encoder NAME": what the perceptual loss compares.
    """

    def __init__(
        self, encoder: EncoderLike, vgg: nn.Module | None, layers: int = 3, watcher: EncoderLike | None = None
    ) -> None:
        self.encoder, self.vgg, self.layers, self.watcher = encoder, vgg, layers, watcher or encoder
        self.network: nn.Module | None = getattr(encoder, "network", None)
        self.source = "vgg16" if vgg is not None else f"the identity encoder {self.watcher.name}"

    @property
    def has_maps(self) -> bool:
        """False when neither VGG nor the watcher can give feature maps (an ONNX recogniser)."""
        return self.vgg is not None or hasattr(self.watcher, "network")

    def __call__(self, pictures: torch.Tensor, landmarks_px: torch.Tensor) -> tuple[torch.Tensor, Maps]:
        """(N, 3, S, S) 0..1 and (N, 68, 2) px -> unit embeddings (N, M) and perceptual maps, both differentiable."""
        if self.network is None or self.watcher is not self.encoder:
            compared = self.maps(pictures, landmarks_px) if self.has_maps else []
            return self.encoder.embed_tensor(pictures, landmarks_px), compared
        maps = self._watcher_maps(pictures, landmarks_px)
        embedding = F.normalize(self.network.head(maps[-1]).float(), dim=1)  # type: ignore[operator]
        return embedding, self._vgg_maps(pictures) if self.vgg is not None else maps[: self.layers]

    def maps(self, pictures: torch.Tensor, landmarks_px: torch.Tensor) -> Maps:
        """The perceptual maps alone."""
        if self.vgg is not None:
            return self._vgg_maps(pictures)
        return self._watcher_maps(pictures, landmarks_px)[: self.layers]

    def _watcher_maps(self, pictures: torch.Tensor, landmarks_px: torch.Tensor) -> Maps:
        return self.watcher.feature_maps(pictures, landmarks_px)  # type: ignore[attr-defined,no-any-return]

    def _vgg_maps(self, pictures: torch.Tensor) -> Maps:
        return self.vgg(pictures) if self.vgg is not None else []


def frozen_features(encoder: EncoderLike, recipe: Recipe, device: torch.device) -> FrozenFeatures:
    """The features of a recipe; SamaeError when the encoder judges, or gives no gradient that the recipe weighs."""
    refuse_judge(encoder.name, recipe.name)
    path = vgg_path() if recipe.losses.perceptual > 0 else None
    watcher = None
    if path is None and recipe.losses.perceptual > 0:
        builtin = load_encoder(WATCHER, "cpu" if device.type == "meta" else str(device))
        watcher = None if builtin.digest == getattr(encoder, "digest", "") else builtin  # one network gives both
    features = FrozenFeatures(encoder, load_vgg(path).to(device) if path else None, watcher=watcher)
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

"""SAMAE (SelfSwapper; Lee et al., ECCV 2024, arXiv 2402.07370): a masked autoencoder of faces that swaps at inference.

Training hides the face of a picture and rebuilds it from separated conditions: the rendered mesh (shape, pose,
expression, light), an identity embedding of the colour-jittered face, and three numbers of skin colour. No pair and no
identity label is needed. A swap renders the source's shape in the target's pose and gives the source's embedding.

Where each choice comes from (P paper or its page, S second-hand notes, O ours):
- faces are hidden so that the target's identity cannot leak (P); M = M_ras - M_occ (S); what is hidden beyond that,
  "perforation confusion" against shape leaking through the hole's border (P), in faces/masks.py with numbers of O.
- random mesh scaling against over-reliance on the pixel-aligned mesh (P); U(0.9, 1.1) with probability 0.8 (O).
- I_ras is an image input, better than the vector of coefficients (S); neutral albedo = the head's mean (O).
- colour jitter before the encoder so that c_id carries no tone (S), its strength (O); skin colour restores tone (S).
- `identity.other_picture`: c_id of another picture of the person, so that it carries nothing of this one (O; off).
- losses L1 + perceptual + identity + adversarial (S); weights, `detail`, and the face term (O).
- the generator predicts a residual over the tinted render, and what is not hidden passes unchanged (O).
- test mask: target's union swapped silhouette (S), minus occluders, dilated round the jaw and feathered (O).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from faces.errors import SamaeError
from faces.masks import MeshScaleSettings, PerforationSettings, feather, mesh_scales, swap_mask
from faces.morphable.base import MorphableHead
from faces.perforation import mask_draws, perforate_one
from training import losses
from training.augment import colour_jitter, flips, jitter_factors, mirror, mirror_landmarks
from training.batch import FaceBatch, SwapResult
from training.config import Recipe
from training.methods.adversary import adversary_is_on, discriminator_step, frozen
from training.methods.base import EncoderLike, MethodBase, StepLosses, generators_at, partners, second_or
from training.methods.mesh_inputs import (
    MeshPictures,
    MeshRenderer,
    occluders_beyond,
    shape_vector,
    start_and_masked,
    without_slits,
)
from training.networks.patchgan import MultiScaleDiscriminator
from training.networks.unet import UNet
from training.perceptual import FrozenFeatures, feature_terms, frozen_features


@dataclass(frozen=True)
class Conditions:
    """What the generator sees of N faces.

    Attributes:
        start: (N, 3, S, S) sRGB 0..1, what the residual is added to.
        masked: (N, 3, S, S) the picture with the hole at zero.  hole: (N, 1, S, S) 0..1, 1 where hidden.
        mesh: (N, 3, S, S) I_ras, or (N, 0, S, S) in the vector ablation.
        vector: (N, K) identity embedding, skin colour, and in the ablation the coefficients.
    """

    start: torch.Tensor
    masked: torch.Tensor
    hole: torch.Tensor
    mesh: torch.Tensor
    vector: torch.Tensor


@dataclass(frozen=True)
class SamaeInputs:
    """One prepared batch: conditions, the truth, M0 (`face`), landmarks in px, c_id, positions and the step."""

    conditions: Conditions
    image: torch.Tensor
    face: torch.Tensor
    landmarks: torch.Tensor
    identity: torch.Tensor
    positions: tuple[int, ...]
    step: int


class SamaeGenerator(nn.Module):
    """Conditions -> picture (N, 3, S, S), about 0..1, unbounded; equal to the picture outside the hole."""

    def __init__(self, recipe: Recipe, vector_width: int) -> None:
        super().__init__()
        size = recipe.generator
        self.memory = torch.channels_last if recipe.train.channels_last else torch.contiguous_format
        self.net = UNet(
            7 if recipe.mesh.condition == "image" else 4,
            3,
            vector_width,
            size_px=recipe.size_px,
            width=size.width,
            multipliers=size.multipliers,
            blocks=size.blocks,
            attention_px=size.attention_px,
            condition_width=size.condition_width,
            patch_px=size.patch_px,
        )

    def forward(self, seen: Conditions) -> torch.Tensor:
        """See the class."""
        pictures = torch.cat([seen.masked * 2 - (1 - seen.hole), seen.hole, seen.mesh * 2 - 1], 1)
        residual = self.net(pictures.contiguous(memory_format=self.memory), seen.vector)
        return seen.start + seen.hole * residual.float()


class Samae(MethodBase):
    """SAMAE as the trainer drives it; see training/methods/base.py."""

    name = "samae"
    features: FrozenFeatures

    def __init__(self, recipe: Recipe, head: MorphableHead, encoder: EncoderLike, device: torch.device) -> None:
        self.layout = head.layout
        self.scaling = MeshScaleSettings(spread=recipe.mesh.scaling, probability=recipe.mesh.scaling_probability)
        width = encoder.dim + 3 * recipe.identity.skin_colour
        if recipe.mesh.condition == "vector":
            width += shape_vector(torch.zeros(1, head.layout.size), head.layout).shape[1]
        wanted = recipe.losses.adversarial > 0
        size = recipe.discriminator
        judge = MultiScaleDiscriminator(3, width=size.width, layers=size.layers, scales=size.scales) if wanted else None
        super().__init__(recipe, head, encoder, SamaeGenerator(recipe, width), judge, device)
        self.second_every = int(recipe.identity.other_picture)
        self.renderer = MeshRenderer(head, recipe.size_px, recipe.mesh, device)
        self.features = frozen_features(encoder, recipe, device)
        self.notes += [f"perceptual loss: features of {self.features.source}"]

    # ---- preparation -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, batch: FaceBatch, *, seed: int, positions: Sequence[int], step: int) -> SamaeInputs:
        """Hide the faces, render the meshes, jitter the identity; see Method.prepare."""
        batch = self._checked(batch).to(self.device)
        turned = flips(seed, positions) if self._may_flip() else torch.zeros(len(batch), dtype=torch.bool)
        draws = np.stack([rng.uniform(size=2) for rng in generators_at(seed, positions, "scale")])
        own = self.renderer.render(batch.coefficients, mesh_scales(draws, self.scaling), remember=True)
        hole = self._perforated(batch, seed, positions)
        image, face, hole = (mirror(picture, turned) for picture in (batch.image, batch.mask, hole))
        own = MeshPictures(mirror(own.image, turned), mirror(own.mask, turned))
        landmarks = mirror_landmarks(batch.landmarks, turned, self.size_px)
        jittered = colour_jitter(image, jitter_factors(self.recipe.identity, seed, positions))
        with self.autocast():
            identity = self.encoder.embed_tensor(jittered, landmarks).float()
        seen = identity if batch.second is None else second_or(batch.second.float(), identity)
        conditions = self.conditions(image, hole, own, seen, batch.skin, batch.coefficients, quick=True)
        return SamaeInputs(conditions, image, face, landmarks, identity, tuple(positions), step)

    def conditions(
        self,
        image: torch.Tensor,
        hole: torch.Tensor,
        mesh: MeshPictures,
        identity: torch.Tensor,
        skin: torch.Tensor,
        coefficients: torch.Tensor,
        quick: bool = False,
    ) -> Conditions:
        """Everything the generator sees, in training and at a swap alike; quick: to 3e-5 (mesh_kernels.py)."""
        parts = [identity * identity.shape[1] ** 0.5]
        if self.recipe.identity.skin_colour:
            mesh = self.renderer.tinted(mesh, skin, quick)
            parts.append((skin - 0.3) / 0.2)
        if self.recipe.mesh.condition == "vector":
            parts.append(shape_vector(coefficients, self.layout))
            (start, masked), shown = start_and_masked(image, hole, None), mesh.image[:, :0]
        else:
            (start, masked), shown = start_and_masked(image, hole, mesh, quick), mesh.image
        return Conditions(start, masked, hole, shown, torch.cat(parts, 1))

    def _perforated(self, batch: FaceBatch, seed: int, positions: Sequence[int]) -> torch.Tensor:
        """The hole (N, 1, S, S): docs/methods.md; each face draws alone, so that it does not depend on its batch."""
        if not self.recipe.mask.perforation:
            return batch.mask
        settings = PerforationSettings(dilate_px=self.recipe.mask.dilate_px, other_shape_probability=1.0)
        shared = PerforationSettings().other_shape_probability
        draws = [(rng.random(), mask_draws(rng)) for rng in generators_at(seed, positions, "mask")]
        borrowed = [row for row, (draw, _) in enumerate(draws) if draw < shared]
        shapes = self._other_shapes(batch, borrowed, partners(positions, seed))[:, 0].cpu().numpy()
        others = dict(zip(borrowed, shapes, strict=True))
        faces, occluders = batch.mask[:, 0].cpu().numpy(), self._occluders(batch)[:, 0].cpu().numpy()
        holes = [
            perforate_one(face, others.get(row), occluders[row], draws[row][1], settings)
            for row, face in enumerate(faces)
        ]
        return torch.from_numpy(np.stack(holes))[:, None].to(batch.image)

    def _other_shapes(self, batch: FaceBatch, rows: list[int], partner: list[int]) -> torch.Tensor:
        """Silhouettes (R, 1, S, S) of these rows' views with their partners' shapes."""
        if not rows:
            return batch.mask[:0]
        mixed = self.renderer.with_identity(
            batch.coefficients[rows], batch.coefficients[[partner[row] for row in rows]]
        )
        return self.renderer.silhouette(mixed)

    def _occluders(self, batch: FaceBatch) -> torch.Tensor:
        """M_occ (N, 1, S, S): where the silhouette is not the visible face."""
        return (self.renderer.silhouette(batch.coefficients, remember=True) - batch.mask).clamp(0, 1)

    def _may_flip(self) -> bool:
        return self.recipe.flip and self.recipe.mesh.condition == "image"

    def _checked(self, batch: FaceBatch) -> FaceBatch:
        if batch.image.shape[-1] != self.size_px:
            raise SamaeError(
                f"the shards hold {batch.image.shape[-1]} px pictures, but the recipe says size_px={self.size_px}; "
                f"train with --set size_px={batch.image.shape[-1]} or make shards of that size"
            )
        return batch

    # ---- losses ------------------------------------------------------------------------------------------------

    def generator_losses(self, inputs: SamaeInputs) -> StepLosses:
        """L1 + face L1 + detail + perceptual + identity + adversarial, each by its weight in the recipe."""
        weights = self.recipe.losses
        with self.autocast():
            made = self.generator(inputs.conditions)
            terms = {
                "reconstruction": losses.l1(made, inputs.image),
                "face": losses.l1(made, inputs.image, inputs.conditions.hole),
                "detail": losses.detail(made, inputs.image, inputs.conditions.hole),
            }
            terms |= feature_terms(self, made, inputs.image, inputs.landmarks, inputs.identity, inputs.positions)
            if self.discriminator is not None and adversary_is_on(self.recipe, inputs.step):
                terms["adversarial"] = self._adversarial(made)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return StepLosses(total, {name: term.detach() for name, term in terms.items()}, made.detach())

    def _adversarial(self, made: torch.Tensor) -> torch.Tensor:
        with frozen(self.discriminator):
            logits = [maps[-1] for maps in self.discriminator(made * 2 - 1)]  # type: ignore[misc]
        return losses.generator_adversarial(logits, self.recipe.losses.adversarial_form)

    def discriminator_losses(self, inputs: SamaeInputs, fake: torch.Tensor) -> StepLosses:
        """Real against made pictures, and R1 every `r1_every_steps` updates (times that number, as in StyleGAN2)."""
        return discriminator_step(self, inputs.image, fake, inputs.step)

    # ---- swap --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """Shape and embedding of the source; expression, pose, place, light, gaze and skin colour of the target."""
        source, target = source.to(self.device), self._checked(target).to(self.device)
        swapped = self.renderer.with_identity(target.coefficients, source.coefficients)
        mesh = self.renderer.render(swapped)
        hole, soft = self._swap_hole(target, self.renderer.silhouette(swapped))
        seen = self.conditions(target.image, hole, mesh, source.embedding.float(), target.skin, swapped)
        with self.autocast():
            made = self.ema(seen)
        made = made.float().clamp(0, 1)
        return SwapResult(made * soft + target.image * (1 - soft), soft)

    def _swap_hole(self, target: FaceBatch, swapped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The hole of a swap (N, 1, S, S), and how much of the result is pasted there.

        The paste has a soft edge, and lets single hairs and thin frames before the face through by their share of the
        pixel (ours).
        """
        settings, unit = self.recipe.mask, self.size_px / 256
        own = self.renderer.silhouette(target.coefficients)
        occluders = occluders_beyond(own, target.mask)
        marks = target.landmarks.cpu().numpy()
        open_ = torch.as_tensor(swap_mask(target.mask, swapped, occluders, settings.swap_dilate_px, marks))
        hole, rim = without_slits(open_, own)
        seen = (own > 0.5) & (rim < 0.5)
        bare = torch.where(seen, (target.mask / own.clamp_min(0.5)).clamp(0, 1), torch.ones_like(own))
        return hole, torch.as_tensor(feather(hole, settings.feather_px * unit)) * bare

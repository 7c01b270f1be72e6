"""From coefficients to what SAMAE's generator sees: the render I_ras, silhouettes, and the start picture.

The start picture is ours: inside the hole the render tinted by the skin colour, where the render does not reach the
surroundings blurred into the hole, outside the hole the picture itself. The generator predicts a residual over it, so
the first thousand pictures already look like faces.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from faces.camera import Camera
from faces.masks import silhouette
from faces.morphable.base import CoefficientLayout, MorphableHead
from faces.render.mesh_image import render_mesh
from faces.render.shading import to_linear, to_srgb
from training.config import MeshSettings


@dataclass(frozen=True)
class MeshPictures:
    """image (N, 3, S, S) float32 sRGB 0..1, black outside the face; mask (N, 1, S, S) float32 0..1 coverage."""

    image: torch.Tensor
    mask: torch.Tensor


class MeshRenderer:
    """Renders one head's face region with the neutral albedo (gamma_neu, reading a of systems.md 1.5: the mean)."""

    def __init__(self, head: MorphableHead, size_px: int, settings: MeshSettings, device: torch.device) -> None:
        self.head, self.settings, self.device = head, settings, device
        self.camera = Camera.centred(size_px)
        self._known: dict[bytes, np.ndarray] = {}
        self.mean_skin = torch.from_numpy(head.albedo_mean[head.face_region].mean(0).astype(np.float32)).to(device)

    def render(self, coefficients: torch.Tensor, scale: np.ndarray | None = None) -> MeshPictures:
        """(N, D) -> the lit face region, antialiased; `scale` (N,) enlarges the mesh about its centroid."""
        drawn = render_mesh(self.head, coefficients.cpu().numpy(), self.camera, "mean", self.settings.antialias, scale)
        mask = self._on_device(drawn.mask)
        image = torch.from_numpy(np.ascontiguousarray(drawn.image)).permute(0, 3, 1, 2).to(self.device)
        return MeshPictures(image * mask, mask)

    def silhouette(self, coefficients: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, 1, S, S) float32 0..1 coverage of the face region, eyes and mouth filled in."""
        return self._on_device(silhouette(coefficients.cpu().numpy(), self.head, self.camera.size_px))

    def own_silhouette(self, coefficients: torch.Tensor) -> torch.Tensor:
        """The same for the pictures' own coefficients, remembered between epochs (`cache_mb`)."""
        rows = coefficients.cpu().numpy()
        names = [row.tobytes() for row in rows]
        unknown = [row for row, name in enumerate(names) if name not in self._known]
        fresh = silhouette(rows[unknown], self.head, self.camera.size_px) if unknown else ()
        known = self._known | {
            names[row]: np.rint(255 * one).astype(np.uint8) for row, one in zip(unknown, fresh, strict=True)
        }
        if len(known) * self.camera.size_px**2 <= self.settings.cache_mb << 20:
            self._known = known
        return self._on_device(np.stack([known[name] for name in names]).astype(np.float32) / 255)

    def _on_device(self, masks: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(masks))[:, None].to(self.device)

    def with_identity(self, coefficients: torch.Tensor, identity_of: torch.Tensor) -> torch.Tensor:
        """(N, D), (N, D) -> (N, D): the first with the second's shape (v_swap: shape of one, the rest of the other)."""
        mixed = coefficients.clone()
        place = self.head.layout.slices["identity"]
        mixed[:, place] = identity_of[:, place]
        return mixed

    def tinted(self, pictures: MeshPictures, skin: torch.Tensor) -> MeshPictures:
        """The render in another skin colour: linear RGB times skin (N, 3) over the head's mean skin."""
        ratio = (skin.float() / self.mean_skin.clamp_min(1e-3)).clamp(0.05, 8.0)[:, :, None, None]
        return MeshPictures(to_srgb((to_linear(pictures.image) * ratio).clamp(0, 1)), pictures.mask)


def random_scales(settings: MeshSettings, draws: np.ndarray) -> np.ndarray:
    """(N, 2) uniform 0..1 -> (N,) scales: U(1 - s, 1 + s) with the recipe's probability, else 1 (systems.md 1.3)."""
    scales = 1 + settings.scaling * (2 * draws[:, 1] - 1)
    return np.where(draws[:, 0] < settings.scaling_probability, scales, 1.0)


def filled(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Continue a picture into its hole by push-pull over a pyramid (Gortler et al. 1996, section 4.3).

    picture (N, 3, S, S), known (N, 1, S, S) 0..1 -> (N, 3, S, S): the picture where known, smooth colours where not.
    """
    weight = known.clamp(0, 1)
    levels = [(picture * weight, weight)]
    while min(levels[-1][0].shape[-2:]) > 1:
        levels.append((F.avg_pool2d(levels[-1][0], 2), F.avg_pool2d(levels[-1][1], 2)))
    colour = levels[-1][0] / levels[-1][1].clamp_min(1e-6)
    for summed, weight in reversed(levels[:-1]):
        coarse = F.interpolate(colour, size=summed.shape[-2:], mode="bilinear", align_corners=False)
        colour = summed + coarse * (1 - weight)
    return colour


def start_picture(image: torch.Tensor, hole: torch.Tensor, mesh: MeshPictures | None) -> torch.Tensor:
    """Picture (N, 3, S, S), hole (N, 1, S, S), tinted render (None: without) -> what the residual is added to."""
    background = filled(image, 1 - hole)
    inside = background if mesh is None else mesh.image + background * (1 - mesh.mask)
    return image * (1 - hole) + inside * hole


def shape_vector(coefficients: torch.Tensor, layout: CoefficientLayout) -> torch.Tensor:
    """(N, D) -> (N, D - albedo): the coefficients at about unit size, for the ablation that drops the render.

    Translation is taken about (0, 0, 1100) mm in units of (20, 20, 100) mm (ours).
    """
    names = ("identity", "expression", "rotation_rad", "light", "gaze_rad")
    parts = [torch.as_tensor(layout.take(coefficients, name)) for name in names]
    place = torch.as_tensor(layout.take(coefficients, "translation_mm"))
    centred = (place - place.new_tensor([0.0, 0.0, 1100.0])) / place.new_tensor([20.0, 20.0, 100.0])
    return torch.cat([*parts, centred], 1)

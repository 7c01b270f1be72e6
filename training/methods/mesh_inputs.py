"""From coefficients to what SAMAE's generator sees: the render I_ras, silhouettes, and the start picture.

The start picture is ours: inside the hole the render tinted by the skin colour, where the render does not reach the
surroundings continued into the hole, outside the hole the picture itself. The generator predicts a residual over it, so
the first thousand pictures already look like faces.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from faces.albedo import mean_skin
from faces.camera import Camera, head_to_camera, project
from faces.fitting.view import fill_all_holes
from faces.morphable.base import CoefficientLayout, MorphableHead
from faces.perforation import REFERENCE_PX
from faces.render.mesh_image import render_mesh
from faces.render.rasterize import covered
from faces.render.shading import to_linear, to_srgb
from training.config import MeshSettings
from training.methods import mesh_kernels

#: Coverage 0..255 of a pixel of whose four samples so many are covered.
QUARTERS = np.rint(255 * np.arange(5) / 4).astype(np.uint8)
#: How far down from its upper edge a render stands for the skin above it, px at 256, and in how much of its height.
BAND_PX, BAND_SHARE = 16.0, 0.375


@dataclass(frozen=True)
class MeshPictures:
    """image (N, 3, S, S) float32 sRGB 0..1, black outside the face; mask (N, 1, S, S) float32 0..1 coverage."""

    image: torch.Tensor
    mask: torch.Tensor


class MeshRenderer:
    """Renders one head's face region with the neutral albedo (gamma_neu, in the reading "mean" of docs/faces.md).

    A picture's own render is made once, `antialias` times as large, and remembered up to `cache_mb`; random mesh
    scaling then is a resampling about the face's centroid: exactly a change of a weak-perspective camera's scale, and
    the paper's camera is orthographic.
    """

    def __init__(self, head: MorphableHead, size_px: int, settings: MeshSettings, device: torch.device) -> None:
        self.face, self.settings, self.device, self.size_px = face_part(head), settings, device, size_px
        self.place = head.layout.slices["identity"]
        self.mean_skin = torch.from_numpy(mean_skin(head)).to(device)
        self._memory: dict[bytes, np.ndarray] = {}
        self._used_bytes = 0

    def render(
        self, coefficients: torch.Tensor, scale: np.ndarray | None = None, remember: bool = False
    ) -> MeshPictures:
        """(N, D) -> the lit face region, enlarged by `scale` (N,) about its centroid; `remember` for own faces."""
        large = self._remembered(b"render", coefficients, self._draw, remember)
        if scale is not None and self.device.type == "cpu":
            small = torch.empty(len(large), 4, self.size_px, self.size_px)
            mesh_kernels.resample_faces(large, np.asarray(scale, np.float64), small.numpy())
            return MeshPictures(small[:, :3], small[:, 3:])
        packed = torch.from_numpy(large).to(self.device).permute(0, 3, 1, 2).float() / 255
        small = resampled(packed, np.ones(len(large)) if scale is None else scale, self.size_px)
        return MeshPictures(small[:, :3], small[:, 3:])

    def silhouette(self, coefficients: torch.Tensor, remember: bool = False) -> torch.Tensor:
        """(N, D) -> (N, 1, S, S) float32 0..1 coverage of the face region, eyes and mouth filled in (2 x 2 samples)."""
        masks = self._remembered(b"silhouette", coefficients, self._cover, remember).astype(np.float32) / 255
        return torch.from_numpy(masks)[:, None].to(self.device)

    def with_identity(self, coefficients: torch.Tensor, identity_of: torch.Tensor) -> torch.Tensor:
        """(N, D), (N, D) -> (N, D): the first with the second's shape (v_swap: shape of one, the rest of the other)."""
        mixed = coefficients.clone()
        mixed[:, self.place] = identity_of[:, self.place]
        return mixed

    def tinted(self, pictures: MeshPictures, skin: torch.Tensor, quick: bool = False) -> MeshPictures:
        """The render in another skin colour: linear RGB times skin (N, 3) over `faces.albedo.mean_skin`.

        quick: on a CPU by table (mesh_kernels.py).
        """
        ratio = (skin.float() / self.mean_skin.clamp_min(1e-3)).clamp(0.05, 8.0)[:, :, None, None]
        if quick and self.device.type == "cpu":
            image = pictures.image.flatten(2).contiguous()
            made = torch.empty(image.shape)
            ratios = ratio.flatten(1).contiguous()
            mesh_kernels.tint_faces(image.numpy(), ratios.numpy(), mesh_kernels.LINEAR, mesh_kernels.SRGB, made.numpy())
            return MeshPictures(made.view(pictures.image.shape), pictures.mask)
        return MeshPictures(to_srgb((to_linear(pictures.image) * ratio).clamp(0, 1)), pictures.mask)

    def _draw(self, rows: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, kS, kS, 4) uint8: sRGB over black inside the face region, and its coverage."""
        camera = Camera.centred(self.size_px * self.settings.antialias)
        drawn = render_mesh(self.face, rows, camera, "mean", 1)
        packed = np.concatenate([drawn.image * drawn.mask[..., None], drawn.mask[..., None]], -1)
        return np.rint(255 * packed).astype(np.uint8)

    def _cover(self, rows: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, S, S) uint8 coverage 0..255."""
        take, side = self.face.layout.take, 2 * self.size_px
        vertices = self.face.vertices(take(rows, "identity"), take(rows, "expression"))
        placed = head_to_camera(vertices, take(rows, "rotation_rad"), take(rows, "translation_mm"))
        shown = covered(project(placed, Camera.centred(side)), self.face.triangles, side, side)
        filled = fill_all_holes(shown).view(np.uint8)
        down = filled[:, ::2] + filled[:, 1::2]
        return QUARTERS[down[:, :, ::2] + down[:, :, 1::2]]

    def _remembered(
        self, kind: bytes, coefficients: torch.Tensor, make: Callable[[np.ndarray], np.ndarray], remember: bool
    ) -> np.ndarray:
        rows = coefficients.cpu().numpy()
        if not remember:
            return make(rows)
        names = [kind + row.tobytes() for row in rows]
        unknown = [row for row, name in enumerate(names) if name not in self._memory]
        fresh = dict(zip([names[row] for row in unknown], make(rows[unknown]), strict=True)) if unknown else {}
        made = np.stack([fresh[name] if name in fresh else self._memory[name] for name in names])
        self._used_bytes += sum(one.nbytes for one in fresh.values())
        if self._used_bytes <= self.settings.cache_mb << 20:
            self._memory |= fresh
        return made


def face_part(head: MorphableHead) -> MorphableHead:
    """The head without scalp, ears and neck: its face region and the whole eyeballs. Landmarks are not kept."""
    kept = head.face_region.copy()
    kept[head.eye_left] = kept[head.eye_right] = True
    return head.part(kept, head.face_triangles)


def resampled(large: torch.Tensor, scale: np.ndarray, size_px: int) -> torch.Tensor:
    """(N, 4, kS, kS), coverage last -> (N, 4, S, S), enlarged by `scale` (N,) about the coverage's centroid.

    At scale 1 and k = 2 every pixel is the mean of its four samples.
    """
    count, side = len(large), large.shape[-1]
    axis = (torch.arange(side, device=large.device) + 0.5) * 2 / side - 1
    weight = large[:, 3].clamp_min(1e-6)
    total = weight.sum((1, 2))
    x = (weight.sum(1) * axis).sum(1) / total
    y = (weight.sum(2) * axis).sum(1) / total
    shrink = torch.from_numpy(1.0 / np.asarray(scale)).to(large)
    theta = torch.zeros(count, 2, 3, dtype=large.dtype, device=large.device)
    theta[:, 0, 0] = theta[:, 1, 1] = shrink
    theta[:, 0, 2], theta[:, 1, 2] = x * (1 - shrink), y * (1 - shrink)
    grid = F.affine_grid(theta, [count, 4, size_px, size_px], align_corners=False)
    return F.grid_sample(large, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def occluders_beyond(silhouettes: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """What covers the face, continued outside it, for swaps whose new face is larger than the old (ours).

    silhouettes, visible (N, 1, S, S) 0..1 -> (N, 1, S, S) float32 0 or 1. Inside the silhouette: hidden where it is not
    visible (specks on its rim, where two soft edges differ, left out). Outside: hidden where the nearest pixel of the
    silhouette is hidden, as hair goes on past the face's edge.
    """
    inside = silhouettes[:, 0].cpu().numpy() >= 0.5
    hidden = inside & (visible[:, 0].cpu().numpy() < 0.7 * silhouettes[:, 0].cpu().numpy())
    hidden = np.stack([_without_rim_specks(*pair) for pair in zip(hidden, inside, strict=True)])
    spread = np.zeros(hidden.shape, np.float32)
    for row in np.flatnonzero(inside.any((1, 2))):
        outside = np.ascontiguousarray(~inside[row], np.uint8)
        _, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        table = np.zeros(labels.max() + 1, np.float32)
        table[labels[inside[row]]] = hidden[row][inside[row]]
        spread[row] = table[labels]
    return torch.from_numpy(spread)[:, None].to(silhouettes.device)


def _without_rim_specks(hidden: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(S, S) bool twice -> bool: hidden pixels of the silhouette's rim go, unless they are part of something larger."""
    kernel, width = np.ones((3, 3), np.uint8), max(1, round(len(inside) / 128))
    core = cv2.erode(inside.astype(np.uint8), kernel, iterations=width, borderValue=1)
    larger = cv2.morphologyEx(hidden.astype(np.uint8), cv2.MORPH_OPEN, kernel, iterations=width)
    return hidden & ((core > 0) | (larger > 0))


def without_slits(hole: torch.Tensor, silhouettes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A swap's hole (N, 1, S, S) 0 or 1 -> itself without thin slits along the target's silhouette, and that rim.

    There two soft edges differ by a pixel here and there, which a larger new face would leave standing as a broken line
    of the old hair or skin. Within two pixels at 128 of the rim (0 or 1, (N, 1, S, S)) the hole is closed (ours).
    """
    kernel, reach = np.ones((3, 3), np.uint8), max(1, round(hole.shape[-1] / 64))
    rims, closed = np.empty((2, *hole[:, 0].shape), np.uint8)
    for row, (one, own) in enumerate(zip(hole[:, 0].cpu().numpy(), silhouettes[:, 0].cpu().numpy(), strict=True)):
        inside, open_ = (own >= 0.5).astype(np.uint8), (one >= 0.5).astype(np.uint8)
        core = cv2.erode(inside, kernel, iterations=reach, borderValue=1)
        rims[row] = cv2.dilate(inside, kernel, iterations=reach) - core
        shut = cv2.morphologyEx(open_, cv2.MORPH_CLOSE, kernel, iterations=reach)
        closed[row] = open_ | (shut & rims[row])
    return tuple(torch.from_numpy(masks)[:, None].to(hole) for masks in (closed, rims))  # type: ignore[return-value]


def filled(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """`continued` for a picture (N, 3, S, S) of which (N, 1, S, S) 0..1 is known."""
    return continued(picture * known.clamp(0, 1), known.clamp(0, 1))


def continued(summed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Continue a picture into its holes by push-pull over a pyramid (Gortler et al. 1996, section 4.3).

    A coarse pixel counts fully as soon as the four below it weigh as much as one (Gortler's saturation), so that a
    narrow gap takes the colours of its own two sides.

    Args:
        summed: (N, 3, S, S) colours 0..1 times their weights.  weight: (N, 1, S, S) 0..1.
    Returns:
        (N, 3, S, S): the colours where the weight is 1, smooth ones of the neighbourhood where it is 0.
    """
    levels = [(summed, weight)]
    while min(levels[-1][0].shape[-2:]) > 1:
        summed, weight = (4 * F.avg_pool2d(part, 2) for part in levels[-1])
        excess = weight.clamp_min(1)
        levels.append((summed / excess, weight / excess))
    colour = levels[-1][0] / levels[-1][1].clamp_min(1e-6)
    for summed, weight in reversed(levels[:-1]):
        coarse = F.interpolate(colour, size=summed.shape[-2:], mode="bilinear", align_corners=False)
        colour = summed + coarse * (1 - weight)
    return colour


def forehead_band(coverage: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) coverage of a render -> (N, 1, S, S) 0 or 1: its first pixels down each column, in its upper part.

    There the face region ends while the skin goes on: no outline of the face. BAND_PX and BAND_SHARE are ours.
    """
    shown = coverage[:, 0] >= 0.5
    side = shown.shape[1]
    rows = torch.arange(side, device=shown.device)
    within = shown.any(2)
    top = torch.where(within, rows, side).amin(1)
    bottom = torch.where(within, rows, -1).amax(1)
    upper = rows <= (top + BAND_SHARE * (bottom - top))[:, None]
    first = shown.cumsum(1) <= BAND_PX * side / REFERENCE_PX
    return (first & upper[:, :, None])[:, None].to(coverage)


def start_picture(image: torch.Tensor, hole: torch.Tensor, mesh: MeshPictures | None) -> torch.Tensor:
    """Picture (N, 3, S, S), hole (N, 1, S, S), tinted render (None: without) -> what the residual is added to.

    The render lies in the hole. What it leaves open is continued from the picture and, above the forehead, from the
    render, whose ragged upper edge would be a line across the forehead else (ours).
    """
    if mesh is None:
        return image * (1 - hole) + filled(image, 1 - hole) * hole
    band = forehead_band(mesh.mask) * hole
    around = continued(image * (1 - hole) + mesh.image * band, 1 - hole + mesh.mask * band)
    return image * (1 - hole) + (mesh.image + around * (1 - mesh.mask)) * hole


def start_and_masked(
    image: torch.Tensor, hole: torch.Tensor, mesh: MeshPictures | None, quick: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """`start_picture`, and the picture with its hole at zero; quick: on a CPU in one sweep a face (mesh_kernels.py)."""
    if not quick or image.device.type != "cpu" or mesh is None:
        return start_picture(image, hole, mesh), image * (1 - hole)
    start, masked = torch.empty(2, *image.shape)
    render = torch.cat([mesh.image, mesh.mask], 1)
    reach = BAND_PX * image.shape[-1] / REFERENCE_PX
    seen, hidden = image.contiguous().numpy(), hole[:, 0].contiguous().numpy()
    mesh_kernels.start_faces(seen, hidden, render.numpy(), (reach, BAND_SHARE), start.numpy(), masked.numpy())
    return start, masked


def shape_vector(coefficients: torch.Tensor, layout: CoefficientLayout) -> torch.Tensor:
    """(N, D) -> (N, D - albedo): the coefficients at about unit size, for the ablation that drops the render.

    Translation is taken about (0, 0, 1100) mm in units of (20, 20, 100) mm (ours).
    """
    names = ("identity", "expression", "rotation_rad", "light", "gaze_rad")
    parts = [torch.as_tensor(layout.take(coefficients, name)) for name in names]
    place = torch.as_tensor(layout.take(coefficients, "translation_mm"))
    centred = (place - place.new_tensor([0.0, 0.0, 1100.0])) / place.new_tensor([20.0, 20.0, 100.0])
    return torch.cat([*parts, centred], 1)

"""The head's raster -> colours and owners of samples: lists of samples by kind, each shaded by its kernel. Ours."""

from dataclasses import dataclass

import numpy as np

from faces.render.rasterize import Raster
from faces.synthetic import shading
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.cloth_shading import shade_cloth
from faces.synthetic.garments import Garment
from faces.synthetic.lighting import Rig
from faces.synthetic.noise import noise_maps, packed_noise
from faces.synthetic.sampling import survey_samples
from faces.synthetic.skin_shading import shade_samples


@dataclass(frozen=True)
class KeyShadow:
    """The key lamp's shadow map: view (12,) float64 (three axes, scale, two offsets), depth (side, side) float32 mm,

    and how many texels a sample looks round itself.
    """

    view: np.ndarray
    depth: np.ndarray
    spread: float


def shade_mesh(
    raster: Raster[np.ndarray], body: Anatomy, worn: Garment, table: np.ndarray, numbers: np.ndarray,
    cloth: np.ndarray, moles: np.ndarray, rig: Rig, shade: KeyShadow, focal_px: float, picture: np.ndarray,
    ids: np.ndarray,
) -> None:  # fmt: skip
    """Shade the one raster (1, H, W) into `picture` (H, W, 3) float32 and `ids` (H, W) uint8, in place; H, W are even.

    table: (V + G, COLUMNS) float32 of shading.py, the head's and the garment's vertices.  numbers: look.parameters.
    cloth: outfit.cloth_numbers.  moles: (M, 3) float64.  focal_px: focal length in samples; the principal point is the
    middle.
    """
    width, faces = ids.shape[1], worn.triangles
    triangle, depth = raster.triangle[0].reshape(-1), raster.depth_mm[0].reshape(-1)
    weight, colours, owners = raster.barycentric[0].reshape(-1, 3), picture.reshape(-1, 3), ids.reshape(-1)
    lists, count = np.empty((4, len(triangle)), np.int32), np.zeros(4, np.int64)
    shading.list_samples(
        triangle, depth, weight, faces, table, worn.material, worn.fine, numbers, width, lists, count
    )  # fmt: skip
    for kind in (shading.SKIN_LIST, shading.WET_LIST):
        shade_samples(
            kind, lists[kind, : count[kind]], triangle, weight, depth, faces, table, worn.material, body.features,
            packed_noise(), numbers, moles, rig.lamps, rig.ambient, shade.view, shade.depth, shade.spread, focal_px,
            width, colours, owners,
        )  # fmt: skip
    shade_cloth(
        lists[shading.CLOTH_LIST, : count[shading.CLOTH_LIST]], triangle, weight, depth, faces, table, noise_maps(),
        cloth, rig.lamps, rig.ambient, shade.view, shade.depth, shade.spread, focal_px, width, colours, owners,
    )  # fmt: skip
    eyes = lists[shading.EYE_LIST, : count[shading.EYE_LIST]]
    rows = survey_samples(
        eyes, triangle, weight, depth, faces, table, rig.lamps, shade.view, shade.depth, shade.spread, focal_px, width
    )
    shading.shade_eyes(
        eyes, rows, triangle, worn.material, noise_maps(), numbers, rig.lamps, rig.ambient, width, colours, owners
    )

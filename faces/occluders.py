"""What lies in front of a fitted face (hair, glasses, hands): three ways, chosen by `OccluderSettings.method`.

"network" (the default) is a small network trained on generated people (faces/readers/cover.py), "photographs" the same
one trained on for fits and features as photographs have them. "residual" needs no weights and is kept for comparison:
pixels that the fitted render cannot explain. The head's own render, with the fitted light and albedo, predicts every
pixel of bare skin. A pixel that differs by many robust standard deviations, together with neighbours that do too, is
not skin. Brows, eyes, lips, nostrils and the mouth always differ (the albedo modes are smooth), so the scale grows near
them. Light is forgiven where a shadow explains it: a pixel is compared with the prediction times its own best factor
within `shadow`. A dark lower face may be a beard, which is the face's own, if its hue is the skin's; an open mouth and
the eyeballs never count. All numbers are ours.
"""

from dataclasses import asdict, dataclass

import cv2
import numpy as np

from faces.errors import SamaeError
from faces.files import digest_of
from faces.fitting.maps import feature_map, lower_face, own_surface, predicted_images
from faces.fitting.view import FaceView, shrink_images, view_faces
from faces.morphable.base import MorphableHead
from faces.readers.cover import PHOTOGRAPH_WEIGHTS, WEIGHTS, read_cover
from faces.readers.weights import reader_digest
from faces.render.rasterize import interpolate
from faces.render.shading import to_linear, to_srgb

#: Method -> the weights of its network.
NETWORKS = {"network": WEIGHTS, "photographs": PHOTOGRAPH_WEIGHTS}


@dataclass(frozen=True, kw_only=True)
class OccluderSettings:
    """How occluders are found.

    Attributes:
        method: "network", "photographs" or "residual". All but `certain` and `islands` belong to the residual.
        certain: the network's answer (0..1) is stretched so that the first counts as bare and the second as covered.
        islands: False drops cover that does not reach in from the face's outline, unless it can be glasses: in
            photographs a network takes shades, irises and teeth for cover, and hands, hair and cups do reach in. And it
            covers skin that is cut off from the face above the brows: the bright part of a fringe, taken for forehead.
        working_px: side of the picture in which they are looked for.
        least_scale: smallest robust standard deviation of a bare pixel, sRGB 0..1.
        weak, strong: a region of pixels above `weak` standard deviations counts when it holds one above `strong`.
        blur_px: smoothing of the residual, px of the working picture.
        least_share: smaller regions than this share of the face are dropped.
        feature_tolerance: how many times larger the scale is at brows, eyes, lips and nostrils.
        feature_mm: how far from a landmark that reaches.
        shadow: smallest and largest factor of light that is forgiven.
        beard: smallest factor below the nose, where dark pixels of the skin's own hue may be a beard.
        grow_px: regions grow by this much (px of the working picture), to cover their soft edge.
    """

    method: str = "network"
    certain: tuple[float, float] = (0.35, 0.85)
    islands: bool = True
    working_px: int = 96
    least_scale: float = 0.028
    weak: float = 3.0
    strong: float = 5.0
    blur_px: float = 0.8
    least_share: float = 0.006
    feature_tolerance: float = 3.0
    feature_mm: float = 7.0
    shadow: tuple[float, float] = (0.75, 1.25)
    beard: float = 0.12
    grow_px: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in (*NETWORKS, "residual"):
            raise SamaeError(f"occluders are found by 'network', 'photographs' or 'residual', not by {self.method!r}")
        if not 0.0 <= self.certain[0] < self.certain[1] <= 1.0:
            raise SamaeError(f"certain is {self.certain}; it must be two rising shares of 0..1")

    @property
    def digest(self) -> str:
        """A digest of all settings, of what islands are where they are dropped, and of the photographs' network.

        Who keeps masks of generated people names the digest of `cover.WEIGHTS` beside this one.
        """
        more: dict[str, object] = {} if self.islands else {"island": [*ISLAND, *BARE]}
        if self.method == "photographs":
            more |= {"network": reader_digest(NETWORKS[self.method])}
        return digest_of(asdict(self) | more)


#: Cover (0..1) from which neighbouring pixels are one island; how near to the outline it comes from there (share of the
#: picture's side). Glasses may be islands: above this landmark of the nose's ridge, and so large (share of the outer
#: eyes' distance; a rim is about half of it wide).
ISLAND = ISLAND_COVER, OUTLINE_SHARE, GLASSES_END, GLASSES_SHARE = 0.1, 2 / 256, 29, 0.4
#: Cover below which pixels are bare; half the width of a bridge of them that still joins an island to the face (share
#: of the picture's side); the largest island (share of the silhouette; a forehead above glasses is larger).
BARE = BARE_COVER, BRIDGE_SHARE, BARE_SHARE = 0.5, 2 / 256, 0.08


def residuals(pictures: np.ndarray, predicted: np.ndarray, least: np.ndarray, most: float) -> np.ndarray:
    """sRGB difference (N, S, S) float32 after the best factor of light in least..most; least is (N, S, S)."""
    seen, bare = to_linear(pictures), to_linear(predicted)
    factor = (seen * bare).sum(-1) / np.maximum(np.square(bare).sum(-1), 1e-6)
    forgiven = np.clip(factor, least, most)[..., None]
    away = np.sqrt(np.square(pictures - to_srgb(forgiven * bare)).mean(-1))
    return away.astype(np.float32)


def deviations(
    pictures: np.ndarray, coefficients: np.ndarray, view: FaceView, head: MorphableHead, settings: OccluderSettings
) -> np.ndarray:
    """How many robust standard deviations each pixel lies from the fitted render: (N, S, S) float32, 0 off the face."""
    predicted = predicted_images(coefficients, view, head)
    maps = np.concatenate([feature_map(head, settings.feature_mm), lower_face(head)], 1)
    features, lower = np.moveaxis(interpolate(maps, head.triangles, view.raster), -1, 0)
    least = settings.shadow[0] + (min(settings.beard, settings.shadow[0]) - settings.shadow[0]) * lower
    away = residuals(pictures, predicted, least, settings.shadow[1]) * own_surface(head)[view.raster.triangle]
    out = np.zeros(away.shape, np.float32)
    for n in range(len(away)):
        face = view.face[n]
        if not face.any():
            continue
        scale = max(1.4826 * float(np.median(away[n][face])), settings.least_scale)
        tolerance = scale * (1.0 + (settings.feature_tolerance - 1.0) * features[n])
        smooth = cv2.GaussianBlur(away[n] * face, (0, 0), settings.blur_px)
        cover = cv2.GaussianBlur(face.astype(np.float32), (0, 0), settings.blur_px)
        out[n] = smooth / np.maximum(cover, 1e-3) / tolerance * face
    return out


def clean_regions(deviation: np.ndarray, face: np.ndarray, settings: OccluderSettings) -> np.ndarray:
    """(S, S) deviations -> (S, S) bool: connected regions, strong somewhere and large enough, grown a little."""
    weak = (deviation > settings.weak).astype(np.uint8)
    count, labels = cv2.connectedComponents(weak, connectivity=8)
    if count < 2:
        return np.zeros(face.shape, bool)
    area = np.bincount(labels.ravel(), minlength=count)
    peak = np.zeros(count)
    np.maximum.at(peak, labels.ravel(), deviation.ravel())
    kept = (area >= settings.least_share * face.sum()) & (peak > settings.strong)
    kept[0] = False
    region = kept[labels].astype(np.uint8)
    if region.any() and settings.grow_px >= 1:
        region = (cv2.distanceTransform(1 - region, cv2.DIST_L2, 5) <= settings.grow_px).astype(np.uint8)
    return region.astype(bool) & face


def find_occluders(
    images: np.ndarray, coefficients: np.ndarray, head: MorphableHead, settings: OccluderSettings
) -> np.ndarray:
    """What covers the fitted face: (N, S, S, 3) uint8, (N, D) -> (N, w, w) float32 0..1, 1 where it is covered.

    w is S for a network and the working size for the residual. Raises SamaeError where the weights are damaged.
    """
    if settings.method in NETWORKS:
        low, high = settings.certain
        cover = read_cover(images, coefficients, head, NETWORKS[settings.method])
        return np.clip((cover - low) / (high - low), 0.0, 1.0)
    size_px = min(settings.working_px, images.shape[1])
    view = view_faces(coefficients, head, size_px)
    deviation = deviations(shrink_images(images, size_px), coefficients, view, head, settings)
    regions = [clean_regions(deviation[n], view.face[n], settings) for n in range(len(images))]
    return np.stack(regions).astype(np.float32)


def without_islands(covers: np.ndarray, silhouettes: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
    """Drop cover that neither reaches in from the face's outline nor can be glasses, and bare skin in hair (ours).

    Args:
        covers, silhouettes: (N, S, S) float 0..1.  landmarks_px: (N, 68, 2) of the fits.
    Returns:
        (N, S, S) like `covers`. Regions that reach neither the outline nor the picture's edge are 0, with a rim, where
        they are small or their middle lies below the place of glasses. Then 1 where bare pixels are cut off from the
        largest region of them, above the brows.
    """
    return _cut_off_covered(_islands_dropped(covers, silhouettes, landmarks_px), silhouettes, landmarks_px)


def _down(landmarks_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 68, 2) -> (N, 2) middles of the eyes, and (N, 2) the way from there to the chin."""
    eyes = landmarks_px[:, 36:48].mean(1)
    return eyes, landmarks_px[:, 8] - eyes


def _square(share: float, size_px: int) -> tuple[int, np.ndarray]:
    """A share of the picture's side in pixels, 1 at least, and a square that reaches so far to all sides."""
    reach_px = max(round(share * size_px), 1)
    return reach_px, np.ones((2 * reach_px + 1,) * 2, np.uint8)


def _islands_dropped(covers: np.ndarray, silhouettes: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
    out = covers.copy()
    near_px, reach = _square(OUTLINE_SHARE, covers.shape[1])
    eyes, down = _down(landmarks_px)
    lowest = ((landmarks_px[:, GLASSES_END] - eyes) * down).sum(1)
    least_px = GLASSES_SHARE * np.linalg.norm(landmarks_px[:, 36] - landmarks_px[:, 45], axis=1)
    for n, inside in enumerate(silhouettes > 0.5):
        region = ((covers[n] > ISLAND_COVER) & inside).astype(np.uint8)
        _, labels, boxes, middles = cv2.connectedComponentsWithStats(region, connectivity=8)
        dropped = ((middles + 0.5 - eyes[n]) * down[n]).sum(1) >= lowest[n]
        dropped |= boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1) < least_px[n]
        dropped[0] = False
        outside = np.pad((~inside).astype(np.uint8), near_px, constant_values=1)
        outline = cv2.dilate(outside, reach)[near_px:-near_px, near_px:-near_px] > 0
        dropped[labels[outline]] = False
        islands = cv2.dilate(dropped[labels].astype(np.uint8), reach) > 0
        out[n][islands & ~(region.astype(bool) & ~dropped[labels])] = 0.0
    return out


def _cut_off_covered(covers: np.ndarray, silhouettes: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
    out = covers.copy()
    _, bridge = _square(BRIDGE_SHARE, covers.shape[1])
    eyes, down = _down(landmarks_px)
    brows = ((landmarks_px[:, 17:27].mean(1) - eyes) * down).sum(1)
    for n, inside in enumerate(silhouettes > 0.5):
        bare = inside & (covers[n] < BARE_COVER)
        cores = cv2.erode(bare.astype(np.uint8), bridge)
        count, labels, _, middles = cv2.connectedComponentsWithStats(cores, connectivity=4)
        if count < 3:
            continue
        _, nearest = cv2.distanceTransformWithLabels(1 - cores, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        core_of = np.zeros(nearest.max() + 1, np.int64)
        core_of[nearest[cores > 0]] = labels[cores > 0]
        regions = core_of[nearest] * bare  # a bare pixel is part of the nearest core's region
        areas = np.bincount(regions.ravel(), minlength=count)
        cut_off = ((middles + 0.5 - eyes[n]) * down[n]).sum(1) < brows[n]
        cut_off &= areas < BARE_SHARE * inside.sum()
        cut_off[[0, 1 + int(areas[1:].argmax())]] = False
        island = cut_off[regions]
        rim = cv2.dilate(island.astype(np.uint8), bridge) > 0  # with the soft edges of cover and silhouette about it
        out[n][rim & (island | ~bare)] = 1.0
    return out

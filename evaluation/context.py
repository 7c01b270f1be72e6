"""What a metric sees: source, target, result and (when there is one) true swap of N pairs, everything derived cached.

One decode and one pass a picture: L*a*b*, gradients and embeddings are computed on first use and shared by all
metrics, and those of source, target and truth by all systems that are judged on the same pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np

from evaluation.colour import picture_to_lab
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from training.batch import FaceBatch


class EncoderLike(Protocol):
    """The part of faces.identity's Encoder that the judge uses."""

    name: str
    digest: str
    dim: int
    licence: str

    def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 sRGB, (N, 68, 2) px -> (N, dim) float32 of unit length."""
        ...


@dataclass(eq=False)
class Pictures:
    """N pictures S px square with what is known of them.

    Attributes:
        image: (N, S, S, 3) uint8 sRGB.
        landmarks_px: (N, 68, 2) float32.
        mask: (N, S, S) float32 0..1, the visible face.
        coefficients: (N, D) float32 or None, as the data set holds them.
    """

    image: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray
    coefficients: np.ndarray | None = None
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_batch(cls, batch: FaceBatch) -> "Pictures":
        """The pictures of a FaceBatch, rounded to 8 bits."""
        return cls(
            to_uint8(batch.image.cpu().numpy()),
            batch.landmarks.cpu().numpy().astype(np.float32),
            batch.mask[:, 0].cpu().numpy().astype(np.float32),
            batch.coefficients.cpu().numpy(),
        )

    def __len__(self) -> int:
        return len(self.image)

    @property
    def size_px(self) -> int:
        """Width and height of a picture."""
        return self.image.shape[1]

    @property
    def lab(self) -> np.ndarray:
        """(N, S, S, 3) float32 CIE L*a*b*, D65."""
        if "lab" not in self._cache:
            self._cache["lab"] = picture_to_lab(self.image)
        return self._cache["lab"]

    @property
    def gradient(self) -> np.ndarray:
        """(N, S, S) float32 length of the gradient of L*, per px (Sobel, 3 x 3, scaled to central differences)."""
        if "gradient" not in self._cache:
            lightness = self.lab[..., 0]
            self._cache["gradient"] = np.stack([_gradient(plane) for plane in lightness])
        return self._cache["gradient"]

    def embedding(self, encoder: EncoderLike) -> np.ndarray:
        """(N, dim) float32 unit embeddings, computed once an encoder."""
        key = f"embedding.{encoder.name}"
        if key not in self._cache:
            self._cache[key] = np.asarray(encoder.embed(self.image, self.landmarks_px), np.float32)
        return self._cache[key]

    def remember(self, name: str, value: Any) -> None:
        """Put a derived value that was computed elsewhere (a gallery, a fit) into the cache."""
        self._cache[name] = value

    def recall(self, name: str) -> Any | None:
        """A derived value that was put there before, or None."""
        return self._cache.get(name)


def known_coefficients(pictures: Pictures) -> np.ndarray:
    """(N, D) the data set's coefficients of these pictures; SamaeError when they have none."""
    if pictures.coefficients is None:
        raise SamaeError("these pictures have no coefficients; judge pictures of a shard set, or leave out the fit")
    return pictures.coefficients


def _gradient(plane: np.ndarray) -> np.ndarray:
    dx = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    dy = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    return np.hypot(dx, dy)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Every face of a pair list, looked at once.

    Attributes:
        keys: F sample keys.  person: (F,) int64, -1 unknown.
        embeddings: encoder's name -> (F, dim) float32 unit vectors.
        fitted: (F, D) float32 coefficients fitted as the results' are (NaN where that failed), or None without a fit.
        there: (F,) bool, False where something else stands in for a face that is missing; all are there when None.
    """

    keys: tuple[str, ...]
    person: np.ndarray
    embeddings: dict[str, np.ndarray]
    fitted: np.ndarray | None = None
    there: np.ndarray | None = None

    @property
    def persons(self) -> dict[str, int]:
        """Key -> the person's label, for the keys whose person is known."""
        return {key: int(person) for key, person in zip(self.keys, self.person, strict=True) if person >= 0}

    def rows_of(self, keys: Sequence[str]) -> np.ndarray:
        """Positions of keys."""
        where = {key: row for row, key in enumerate(self.keys)}
        return np.array([where[key] for key in keys], np.int64)


@dataclass(frozen=True, eq=False)
class Measured:
    """Coefficients that were fitted alike to target and result, and the landmarks they were fitted to.

    Attributes:
        head: whose coefficients they are.
        source, target, result: (N, D) float32. A row that could not be fitted is NaN.
        landmarks_px: (N, 68, 2) float32, found in the result.
    """

    head: MorphableHead
    source: np.ndarray
    target: np.ndarray
    result: np.ndarray
    landmarks_px: np.ndarray


@dataclass(eq=False)
class PairContext:
    """N pairs of one system, ready to be measured. Results carry the target's landmarks: all are cropped alike.

    ok: (N,) bool, the pairs that worked; all when None. The picture of another is no result, and no neighbour of one.
    """

    source: Pictures
    target: Pictures
    result: Pictures
    truth: Pictures | None
    gallery: Gallery
    source_keys: tuple[str, ...]
    target_keys: tuple[str, ...]
    measured: Measured | None = None
    ok: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source_keys)

    @property
    def face(self) -> np.ndarray:
        """(N, S, S) bool: where a face may change, the same for all systems: target's mask or the true swap's."""
        inside = self.target.mask > 0.5
        return inside if self.truth is None else inside | (self.truth.mask > 0.5)

    @property
    def outside(self) -> np.ndarray:
        """(N, S, S) bool: where nothing may change: farther than 4 % of the picture from `face`."""
        return ~grow(self.face, 0.04)


def grow(region: np.ndarray, share: float) -> np.ndarray:
    """(N, S, S) bool -> the region dilated (share > 0) or eroded (share < 0) by `share` picture widths, an ellipse."""
    radius_px = max(1, round(abs(share) * region.shape[1]))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    change = cv2.dilate if share > 0 else cv2.erode
    edge = {} if share > 0 else {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    return np.stack([change(plane.astype(np.uint8), kernel, **edge) > 0 for plane in region])


def to_uint8(image: np.ndarray) -> np.ndarray:
    """(N, 3, S, S) float sRGB 0..1 -> (N, S, S, 3) uint8, rounded; values outside are clipped."""
    made = np.empty((len(image), *image.shape[2:], 3), np.uint8)
    for n, picture in enumerate(image):  # one picture stays in the cache of a core, a batch of them does not
        made[n] = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    return made


def mean_over(values: np.ndarray, region: np.ndarray) -> np.ndarray:
    """(N, S, S), (N, S, S) bool -> (N,) mean inside; NaN where the region is empty."""
    inside = [plane[where] for plane, where in zip(values, region, strict=True)]
    return np.array([part.mean(dtype=np.float64) if len(part) else np.nan for part in inside])

"""68 landmarks and the crops made from them: five points, FFHQ's quad, ArcFace's template, similarity transforms.

Points are in our pixels (faces/camera.py: the first pixel's centre is (0.5, 0.5)). FFHQ's JSON, dlib and OpenCV put it
at (0, 0): `from_whole_pixels` and `to_whole_pixels` convert. Matrices (2, 3) map points of one picture to points of
another, x' = A x + b, both in our pixels; `warp` tells OpenCV.

Order: iBUG 300-W. "Right" is the subject's right, which is on the left of the picture.
"""

import math

import cv2
import numpy as np

JAW = slice(0, 17)
BROW_RIGHT = slice(17, 22)
BROW_LEFT = slice(22, 27)
NOSE_RIDGE = slice(27, 31)
NOSE_BASE = slice(31, 36)
EYE_RIGHT = slice(36, 42)
EYE_LEFT = slice(42, 48)
MOUTH_OUTER = slice(48, 60)
MOUTH_INNER = slice(60, 68)
NOSE_TIP, CHIN, MOUTH_CORNER_RIGHT, MOUTH_CORNER_LEFT = 30, 8, 48, 54

#: Landmark i of a mirrored picture is landmark MIRROR[i] of the picture (whose x was mirrored).
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip

#: ArcFace's five points in a 112 px crop, as published (insightface), pixel centres at whole numbers:
#: picture-left eye, picture-right eye, nose tip, picture-left and picture-right mouth corner.
ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def from_whole_pixels(points: np.ndarray) -> np.ndarray:
    """Points of FFHQ's JSON, dlib or OpenCV (..., 2) -> our pixels (adds 0.5)."""
    return np.asarray(points, np.float64) + 0.5


def to_whole_pixels(points: np.ndarray) -> np.ndarray:
    """Our pixels (..., 2) -> the convention of FFHQ's JSON, dlib and OpenCV (subtracts 0.5)."""
    return np.asarray(points, np.float64) - 0.5


def mirror_landmarks(lm68: np.ndarray, width_px: float) -> np.ndarray:
    """(..., 68, 2) landmarks of a picture -> those of the same picture mirrored left to right."""
    flipped = np.asarray(lm68)[..., MIRROR, :].copy()
    flipped[..., 0] = width_px - flipped[..., 0]
    return flipped


def five_points(lm68: np.ndarray) -> np.ndarray:
    """(..., 68, 2) -> (..., 5, 2): eyes (means of six points), nose tip, mouth corners; picture-left before right."""
    lm68 = np.asarray(lm68, np.float64)
    parts = [
        lm68[..., EYE_RIGHT, :].mean(-2),
        lm68[..., EYE_LEFT, :].mean(-2),
        lm68[..., NOSE_TIP, :],
        lm68[..., MOUTH_CORNER_RIGHT, :],
        lm68[..., MOUTH_CORNER_LEFT, :],
    ]
    return np.stack(parts, -2)


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (scale, rotation, shift; no mirror) with the least squared error from source to target.

    (..., K, 2), (..., K, 2) -> (..., 2, 3) float64. Umeyama 1991 in the plane, where the best rotation is the argument
    of a complex sum; source points that all coincide give scale 0.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    p = source - source_mean[..., None, :]
    q = target - target_mean[..., None, :]
    spread = np.maximum((p**2).sum((-2, -1)), 1e-300)
    cosine = (p * q).sum((-2, -1)) / spread
    sine = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(-1) / spread
    turn = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
    shift = target_mean - (turn @ source_mean[..., None])[..., 0]
    return np.concatenate([turn, shift[..., None]], -1)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(..., 2, 3), (..., K, 2) -> (..., K, 2) = A x + b."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(points, np.float64) @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def invert_transform(matrix: np.ndarray) -> np.ndarray:
    """(..., 2, 3) -> the (..., 2, 3) that undoes it."""
    inverse = np.linalg.inv(np.asarray(matrix, np.float64)[..., :2])
    return np.concatenate([inverse, -inverse @ np.asarray(matrix, np.float64)[..., 2:]], -1)


def arcface_template(size_px: int = 112) -> np.ndarray:
    """(5, 2) ArcFace's points in a crop of size_px (a multiple of 112, else of 128), our pixels.

    Insightface's rule: n / 112 times the table, or n / 128 times the table and 8 n / 128 to the right.
    """
    if size_px % 112 == 0:
        return from_whole_pixels(ARCFACE_112 * (size_px / 112))
    ratio = size_px / 128
    return from_whole_pixels(ARCFACE_112 * ratio + [8 * ratio, 0])


def arcface_transform(lm68: np.ndarray, size_px: int = 112) -> np.ndarray:
    """(..., 68, 2) landmarks -> (..., 2, 3) similarity from the picture to its ArcFace crop."""
    points = five_points(lm68)
    return umeyama(points, np.broadcast_to(arcface_template(size_px), points.shape))


def warp(image: np.ndarray, matrix: np.ndarray, size_px: int, border: str = "constant") -> np.ndarray:
    """Picture (H, W) or (H, W, C), matrix (2, 3) from it to the crop -> (size_px, size_px[, C]), same dtype, bilinear.

    border: "constant" (black outside) or "reflect". A crop far smaller than the picture aliases, as ArcFace's does.
    """
    a, b = np.asarray(matrix, np.float64)[:, :2], np.asarray(matrix, np.float64)[:, 2]
    whole = np.concatenate([a, (b + a @ [0.5, 0.5] - 0.5)[:, None]], 1)
    mode = cv2.BORDER_REFLECT_101 if border == "reflect" else cv2.BORDER_CONSTANT
    return cv2.warpAffine(image, whole, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=mode)


def ffhq_quad(lm68: np.ndarray) -> np.ndarray:
    """(..., 68, 2) landmarks -> (..., 4, 2) FFHQ's square: top left, bottom left, bottom right, top right corner.

    Karras et al. 2019, appendix A, as in NVlabs/ffhq-dataset: x = eye_to_eye - perp(eye_to_mouth), of length
    max(2.0 |eye_to_eye|, 1.8 |eye_to_mouth|); centre = eyes + 0.1 eye_to_mouth. Corners are edges of the square, in our
    pixels (FFHQ's code adds its 0.5 when it samples; ours are already there).
    """
    points = five_points(lm68)
    eyes, mouth = points[..., :2, :].mean(-2), points[..., 3:, :].mean(-2)
    eye_to_eye, eye_to_mouth = points[..., 1, :] - points[..., 0, :], mouth - eyes
    across = eye_to_eye - _perpendicular(eye_to_mouth)
    length = np.maximum(2.0 * np.linalg.norm(eye_to_eye, axis=-1), 1.8 * np.linalg.norm(eye_to_mouth, axis=-1))
    across = across * (length / np.maximum(np.linalg.norm(across, axis=-1), 1e-12))[..., None]
    down = _perpendicular(across)
    centre = eyes + 0.1 * eye_to_mouth
    corners = [centre - across - down, centre - across + down, centre + across + down, centre + across - down]
    return np.stack(corners, -2)


def _perpendicular(vector: np.ndarray) -> np.ndarray:
    """A quarter turn that takes +x (right) to +y (down)."""
    return np.stack([-vector[..., 1], vector[..., 0]], -1)


def ffhq_transform(lm68: np.ndarray, out_px: int) -> np.ndarray:
    """(..., 68, 2) landmarks -> (..., 2, 3) similarity from the picture to its FFHQ crop of out_px."""
    square = np.array([[0, 0], [0, out_px], [out_px, out_px], [out_px, 0]], np.float64)
    quad = ffhq_quad(lm68)
    return umeyama(quad, np.broadcast_to(square, quad.shape))


def ffhq_crop(image: np.ndarray, lm68: np.ndarray, out_px: int) -> np.ndarray:
    """FFHQ's aligned crop of a picture: (H, W, 3) uint8, (68, 2) -> (out_px, out_px, 3) uint8.

    As FFHQ does it: shrunk first when the square is far larger than the crop, reflected where the square leaves the
    picture, with the reflection blurred and faded to the median colour; antialiased. Landmarks of the crop are
    `transform_points(ffhq_transform(lm68, out_px), lm68)`.
    """
    image, matrix = _cut_to_quad(image, ffhq_quad(lm68), ffhq_transform(lm68, out_px), out_px)
    fine = warp(image, matrix * 4.0, 4 * out_px, "reflect")
    return cv2.resize(fine, (out_px, out_px), interpolation=cv2.INTER_AREA)


def _cut_to_quad(image: np.ndarray, quad: np.ndarray, matrix: np.ndarray, out_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the quad needs, shrunk and padded, and the matrix from that part to the crop."""
    side = float(np.linalg.norm(quad[3] - quad[0]))
    shrink = max(1, math.floor(side / out_px * 0.5))
    if shrink > 1:
        size = (max(1, round(image.shape[1] / shrink)), max(1, round(image.shape[0] / shrink)))
        factor = np.array([size[0] / image.shape[1], size[1] / image.shape[0]])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        quad, matrix, side = quad * factor, matrix / np.array([*factor, 1.0]), side / shrink
    height, width = image.shape[:2]
    border = max(round(side * 0.1), 3)
    low, high = np.floor(quad.min(0)).astype(int) - border, np.ceil(quad.max(0)).astype(int) + border
    pad_low, pad_high = np.maximum(-low, 0), np.maximum(high - [width, height], 0)
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, [width, height])
    if x1 <= x0 or y1 <= y0:
        return image, matrix
    part = image[y0:y1, x0:x1]
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ [x0, y0]
    if max(pad_low.max(), pad_high.max()) <= border - 4:
        return part, moved
    pads = [max(int(p), round(side * 0.3)) for p in (*pad_low, *pad_high)]
    moved[:, 2] -= matrix[:, :2] @ [pads[0], pads[1]]
    return _faded_border(part, pads, side), moved


def _faded_border(part: np.ndarray, pads: list[int], side: float) -> np.ndarray:
    """Reflected borders (left, top, right, bottom) that blur and fade to the median colour outward, as FFHQ's do."""
    left, top, right, bottom = pads
    rows = np.pad(np.arange(part.shape[0]), (top, bottom), "reflect" if part.shape[0] > 1 else "edge")
    columns = np.pad(np.arange(part.shape[1]), (left, right), "reflect" if part.shape[1] > 1 else "edge")
    padded = part[rows][:, columns].astype(np.float32)
    height, width = padded.shape[:2]
    y, x = np.ogrid[:height, :width]
    inward = np.minimum(
        np.minimum(x / max(left, 1), (width - 1 - x) / max(right, 1)),
        np.minimum(y / max(top, 1), (height - 1 - y) / max(bottom, 1)),
    )
    outside = (1.0 - inward).astype(np.float32)[..., None]
    blurred = cv2.GaussianBlur(padded, (0, 0), max(side * 0.02, 0.1))
    padded += (blurred - padded) * np.clip(outside * 3.0 + 1.0, 0.0, 1.0)
    padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(outside, 0.0, 1.0)
    return np.clip(np.rint(padded), 0, 255).astype(np.uint8)

"""Where each of the 17 jaw points lies on its line, given the pose: the visible outline, not a fixed vertex."""

import numpy as np

from faces.fitting.tables import HOME, LINE_FRACTIONS, LandmarkTables


def outward_directions(tables: LandmarkTables, turn: np.ndarray) -> np.ndarray:
    """(N, 3, 3) head to camera rotations -> (N, 17, 2) unit picture directions away from the face, turned by roll."""
    home = tables.line_mean[:, HOME]
    side = home[:, :2] - np.stack([np.zeros(17), np.maximum(home[:, 1], tables.mean[[48, 54], 1].mean())], -1)
    side = side / np.linalg.norm(side, axis=-1, keepdims=True)
    up = turn[:, :2, 1]
    up = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-9)
    right = np.stack([-up[:, 1], up[:, 0]], -1)
    return side[None, :, :1] * right[:, None] + side[None, :, 1:] * up[:, None]


def nearest_on_lines(line_px: np.ndarray, observed_px: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Fractional sample of the line's nearest point, within samples first..last.

    (N, 17, C, 2), (N, 17, 2), (N, 17), (N, 17) -> (N, 17) float64 in first..last.
    """
    start, step = line_px[:, :, :-1], np.diff(line_px, axis=2)
    along = ((observed_px[:, :, None] - start) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-12)
    along = np.clip(along, 0.0, 1.0)
    distance = ((start + along[..., None] * step - observed_px[:, :, None]) ** 2).sum(-1)
    segment = np.arange(line_px.shape[2] - 1)
    outside = (segment < first[..., None]) | (segment + 1 > last[..., None])
    best = np.where(outside, np.inf, distance).argmin(-1)
    place = best + np.take_along_axis(along, best[..., None], -1)[..., 0]
    return np.clip(place, first, last)


def contour_places(mode: str, line_px: np.ndarray, outward: np.ndarray, observed_px: np.ndarray) -> np.ndarray:
    """The place of each jaw point on its line: (N, 17) float64 sample numbers in 0..C-1.

    mode "fixed": the landmark's vertex; "sliding": the sample farthest out, where the outline is; "auto": the point
    nearest to the observed one, between those two (it serves both conventions of annotation). line_px (N, 17, C, 2).
    """
    if mode == "fixed":
        return np.full(line_px.shape[:2], float(HOME))
    edge = (line_px * outward[:, :, None]).sum(-1).argmax(-1)
    if mode == "sliding":
        return edge.astype(np.float64)
    return nearest_on_lines(line_px, observed_px, np.minimum(edge, HOME), np.maximum(edge, HOME))


def points_at(tables: LandmarkTables, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 17) sample numbers -> mean (N, 17, 3) and basis (N, 17, 3, M) of the points there, linear between samples."""
    low = np.clip(np.floor(places).astype(int), 0, len(LINE_FRACTIONS) - 2)
    part = (places - low)[..., None]
    jaw = np.arange(17)[None]
    mean = tables.line_mean[jaw, low] * (1 - part) + tables.line_mean[jaw, low + 1] * part
    part = part[..., None]
    return mean, tables.line_basis[jaw, low] * (1 - part) + tables.line_basis[jaw, low + 1] * part

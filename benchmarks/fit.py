"""`samae bench fit`: how well and how fast faces are fitted, on generated people that nobody was tuned on.

People come from faces/synthetic with a seed of their own, so their shape, pose, light and skin are known exactly. The
landmark solve is timed without pictures, the full fit with them; both on all the cores that the process may use.
"""

import time
from typing import Any

import cv2
import numpy as np

from faces.camera import rotation_matrices
from faces.fitting import Fit, FitSettings, fit
from faces.masks import face_mask
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.render.shading import to_srgb

SUMMARY = "fitting: landmark error, pose, surface, light, skin and speed on held-out generated people"
#: Seed of the people that this benchmark alone sees.
HELD_OUT_SEED = 86_028_157


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Figures of this machine. Settings, all optional: count 48 people, size_px 224, seed."""
    count, size_px = int(settings.get("count", 48)), int(settings.get("size_px", 224))
    head = load_head("builtin")
    truth = held_out(int(settings.get("seed", HELD_OUT_SEED)), count, size_px)
    fit(truth["image"][:2], truth["landmarks_px"][:2], head, size_px)
    landmark_s = seconds(lambda: fit(None, truth["landmarks_px"], head, size_px))
    full_s = seconds(lambda: fit(truth["image"], truth["landmarks_px"], head, size_px))
    found = fit(truth["image"], truth["landmarks_px"], head, size_px)
    figures: dict[str, float | int | str] = {
        "nme_percent": round(float(found.landmark_nme_percent.mean()), 3),
        "nme_percent_worst": round(float(found.landmark_nme_percent.max()), 3),
        "ok_percent": round(100.0 * float(found.ok.mean()), 1),
        **geometry_figures(found, truth["coefficients"], head),
        **colour_figures(found, truth, head),
        "landmark_faces_per_s": round(count / landmark_s, 1),
        "full_faces_per_s": round(count / full_s, 1),
        "people": count,
        "size_px": size_px,
        "settings": FitSettings().digest,
    }
    return figures


def seconds(work: Any) -> float:
    """The quicker of two calls, s."""
    spent = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def held_out(seed: int, count: int, size_px: int) -> dict[str, np.ndarray]:
    """`count` different people with their truth: image, landmarks_px, coefficients, mask, skin, each stacked."""
    from faces.synthetic.pictures import render_picture

    portraits = [render_picture(seed, index, count, size_px) for index in range(count)]
    names = ("image", "landmarks_px", "coefficients", "mask", "skin")
    return {name: np.stack([getattr(portrait, name) for portrait in portraits]) for name in names}


def geometry_figures(found: Fit, truth: np.ndarray, head: MorphableHead) -> dict[str, float]:
    """Pose in degrees, mean distance of corresponding face vertices in mm (head frame; and after a rigid alignment)."""
    take = head.layout.take
    turns = [rotation_matrices(take(c, "rotation_rad")) for c in (found.coefficients, truth)]
    apart = np.degrees(np.arccos(np.clip((np.einsum("nij,nij->n", *turns) - 1) / 2, -1, 1)))
    face = np.unique(head.triangles[head.face_triangles])
    shapes = [head.decode(take(c, "identity"), take(c, "expression"))[:, face] for c in (found.coefficients, truth)]
    aligned = [rigid_distance_mm(a, b) for a, b in zip(*shapes, strict=True)]
    depth = [take(c, "translation_mm")[:, 2] for c in (found.coefficients, truth)]
    return {
        "pose_degrees": round(float(apart.mean()), 3),
        "pose_degrees_worst": round(float(apart.max()), 3),
        "surface_mm": round(float(np.mean(aligned)), 3),
        "surface_mm_unaligned": round(float(np.linalg.norm(shapes[0] - shapes[1], axis=-1).mean()), 3),
        "depth_error_percent": round(100.0 * float(np.abs(depth[0] / depth[1] - 1).mean()), 2),
    }


def rigid_distance_mm(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of (V, 3) from (V, 3) after the best rotation and shift (Kabsch), mm."""
    p, q = a - a.mean(0), b - b.mean(0)
    left, _, right = np.linalg.svd(p.T.astype(np.float64) @ q)
    left[:, -1] *= np.linalg.det(left @ right)
    return float(np.linalg.norm(p @ (left @ right) - q, axis=-1).mean())


def colour_figures(found: Fit, truth: dict[str, np.ndarray], head: MorphableHead) -> dict[str, float]:
    """Light (relative error, whole and up to its level), skin as Delta E 1976, overlap of masks with the truth."""
    from faces.albedo import skin_colour

    lights = [head.layout.take(c, "light") for c in (found.coefficients, truth["coefficients"])]
    level = (lights[0] * lights[1]).sum(1, keepdims=True) / np.square(lights[0]).sum(1, keepdims=True)
    size = np.linalg.norm(lights[1], axis=1)
    masks = face_mask(truth["image"], found.coefficients, head)
    skin = skin_colour(truth["image"], found.coefficients, masks, head)
    both = (masks > 127) & (truth["mask"] > 127), (masks > 127) | (truth["mask"] > 127)
    return {
        "light_relative_error": round(float(np.median(np.linalg.norm(lights[0] - lights[1], axis=1) / size)), 3),
        "light_shape_error": round(float(np.median(np.linalg.norm(level * lights[0] - lights[1], axis=1) / size)), 3),
        "skin_delta_e": round(float(np.linalg.norm(lab(skin) - lab(truth["skin"]), axis=1).mean()), 2),
        "photometric_error": round(float(np.nanmean(found.photometric_error)), 4),
        "mask_iou": round(float((both[0].sum((1, 2)) / both[1].sum((1, 2))).mean()), 4),
    }


def lab(linear: np.ndarray) -> np.ndarray:
    """(N, 3) linear RGB -> (N, 3) CIE L*a*b* (D65)."""
    return cv2.cvtColor(to_srgb(linear).astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]

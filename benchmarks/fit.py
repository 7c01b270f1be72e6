"""`samae bench fit`: how well and how fast faces are fitted, on generated people that nobody was tuned on.

People come from faces/synthetic with a seed of their own, so their shape, pose, gaze, light and skin are known
exactly. The landmark solve is timed without pictures, the full fit with them, batch by batch, both on all the cores
that the process may use. Issue-sized: `--set people=500`. `--set landmarks=read` fits what the landmark reader finds,
as in photographs, instead of the exact points; `noise_percent`, `occluders` and `islands` then say otherwise than
PHOTOGRAPH_FIT and PHOTOGRAPH_OCCLUDERS.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from benchmarks.landmarks import nearest
from evaluation.gaze import angle_degrees
from faces.camera import rotation_matrices
from faces.detection import load_detector
from faces.errors import SamaeError
from faces.fitting import Fit, FitSettings, fit
from faces.fitting.gaze import gaze_vectors, towards_camera
from faces.fitting.view import skin_triangles
from faces.masks import OccluderSettings, face_mask, silhouette
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.render.shading import to_srgb
from faces.treatment import PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS

SUMMARY = "fitting: landmark error, pose, surface, light, albedo, masks and speed on held-out generated people"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("people", "size_px", "seed", "occluders", "landmarks", "noise_percent", "islands")
#: Seed of the people that this benchmark alone sees.
HELD_OUT_SEED = 86_028_157
#: CIE L* of the skin that part dark, medium and light tones: thirds of the range that people are drawn from.
TONES = (42.0, 56.0)
#: People rendered and fitted together: bounds the memory at any number of people.
BATCH = 32


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Figures of this machine. Settings, all optional: people 96, size_px 224, seed, landmarks exact or read, occluders
    network, photographs or residual, noise_percent, islands (true or false). nme_percent is the distance from the given
    points, read ones where they are read."""
    chosen, way, are_read = how(settings)
    count, size_px = int(settings.get("people", 96)), int(settings.get("size_px", 224))
    head, spent = load_head("builtin"), np.zeros((2, 2))
    rows: list[dict[str, np.ndarray]] = []
    for truth in held_out(int(settings.get("seed", HELD_OUT_SEED)), count, size_px):
        truth |= {"given_px": truth["landmarks_px"]}
        if are_read:
            truth = with_read_landmarks(truth)
        if not len(truth["image"]):
            continue
        if not rows:  # kernels are compiled before the clock runs
            fit(truth["image"][:2], truth["given_px"][:2], head, size_px, chosen)
        clock = [_clocks()]
        fit(None, truth["given_px"], head, size_px, chosen)
        clock.append(_clocks())
        found = fit(truth["image"], truth["given_px"], head, size_px, chosen)
        spent += np.diff([*clock, _clocks()], axis=0)
        rows.append(measured(found, truth, head, way))
    if not rows:
        raise SamaeError(f"no face was found in {count} pictures of {size_px} px: raise size_px or people")
    every = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    faces = len(every["nme"])
    return {
        **summary(every),
        **occluder_figures(every),
        "landmark_faces_per_s": round(faces / spent[0, 0], 1),
        "full_faces_per_s": round(faces / spent[1, 0], 1),
        "landmark_cpu_ms_per_face": round(1e3 * spent[0, 1] / faces, 2),
        "full_cpu_ms_per_face": round(1e3 * spent[1, 1] / faces, 2),
        "people": count,
        "faces": faces,
        "size_px": size_px,
        "settings": chosen.digest,
        "occluder_settings": way.digest,
    }


def how(settings: dict[str, Any]) -> tuple[FitSettings, OccluderSettings, bool]:
    """What `--set` chose: how faces are fitted, how occluders are found, and whether landmarks are read."""
    landmarks = str(settings.get("landmarks", "exact"))
    if landmarks not in ("exact", "read"):
        raise SamaeError(f"landmarks is {landmarks!r}; it must be exact or read")
    are_read = landmarks == "read"
    chosen = PHOTOGRAPH_FIT if are_read else FitSettings()
    chosen = replace(chosen, noise_percent=float(settings.get("noise_percent", chosen.noise_percent)))
    way = PHOTOGRAPH_OCCLUDERS if are_read else OccluderSettings()
    islands = str(settings.get("islands", way.islands)).lower()
    if islands not in ("true", "false"):
        raise SamaeError(f"islands is {islands!r}; it must be true or false")
    return chosen, replace(way, islands=islands == "true", method=str(settings.get("occluders", way.method))), are_read


def with_read_landmarks(truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The faces that the landmark reader finds, with what it reads as `given_px`."""
    detector = load_detector()
    rows, given = [], []
    for row, known in enumerate(truth["landmarks_px"]):
        found = detector.faces(truth["image"][row])
        best = nearest(known, found)
        if best is not None:
            rows.append(row)
            given.append(found[best])
    return {name: values[rows] for name, values in truth.items()} | {"given_px": np.array(given).reshape(-1, 68, 2)}


def _clocks() -> tuple[float, float]:
    """Wall clock and CPU time of this process, s; the second leaves out what other processes had."""
    return time.perf_counter(), time.process_time()


def held_out(seed: int, count: int, size_px: int) -> Iterator[dict[str, np.ndarray]]:
    """`count` different people with their truth, BATCH at a time, stacked; `kind` is what covers the face, `lightness`
    the skin's CIE L*."""
    from faces.synthetic.pictures import person_and_scene, render_picture

    names = ("image", "landmarks_px", "coefficients", "mask", "skin")
    for first in range(0, count, BATCH):
        indices = range(first, min(first + BATCH, count))
        portraits = [render_picture(seed, index, count, size_px) for index in indices]
        owners = [person_and_scene(seed, index, count) for index in indices]
        yield {name: np.stack([getattr(p, name) for p in portraits]) for name in names} | {
            "kind": np.array([kind_of(scene) for _, scene in owners]),
            "lightness": np.array([person.lightness for person, _ in owners]),
            "bearded": np.array([person.beard_mm > 0 for person, _ in owners]),
        }


def kind_of(scene: Any) -> str:
    """What mainly covers this face: sunglasses, glasses, hand or strand; hair when there is nothing else."""
    if scene.glasses != "none":
        return "sunglasses" if scene.glasses == "sunglasses" else "glasses"
    return scene.occluder if scene.occluder != "none" else "hair"


def measured(
    found: Fit, truth: dict[str, np.ndarray], head: MorphableHead, way: OccluderSettings
) -> dict[str, np.ndarray]:
    """Every figure of every face, (N,) each."""
    masks = face_mask(truth["image"], found.coefficients, head, way)
    return {
        "nme": found.landmark_nme_percent,
        "ok": found.ok,
        "photometric": found.photometric_error,
        **geometry_figures(found.coefficients, truth["coefficients"], head),
        **gaze_figures(found.coefficients, truth["coefficients"], head),
        **colour_figures(found.coefficients, truth, masks, head),
        **mask_figures(found.coefficients, truth, masks, head),
    }


def summary(every: dict[str, np.ndarray]) -> dict[str, float | int | str]:
    """(N,) of each measure -> the figures."""

    def mean(name: str, digits: int) -> float:
        return round(float(np.nanmean(every[name])), digits)

    return {
        "nme_percent": mean("nme", 3),
        "nme_percent_worst": round(float(every["nme"].max()), 3),
        "ok_percent": round(100.0 * float(every["ok"].mean()), 1),
        "pose_degrees": mean("pose", 3),
        "pose_degrees_worst": round(float(every["pose"].max()), 3),
        "gaze_degrees": mean("gaze", 2),
        "gaze_degrees_median": round(float(np.median(every["gaze"])), 2),
        "gaze_degrees_straight_ahead": mean("gaze_ahead", 2),
        "gaze_degrees_at_camera": mean("gaze_camera", 2),
        "surface_mm": mean("surface", 3),
        "surface_mm_unaligned": mean("surface_unaligned", 3),
        "depth_error_percent": mean("depth", 2),
        "light_relative_error": round(float(np.median(every["light"])), 3),
        "light_shape_error": round(float(np.median(every["light_shape"])), 3),
        "albedo_delta_e": mean("albedo", 2),
        "skin_delta_e": mean("skin", 2),
        "photometric_error": mean("photometric", 4),
        "mask_iou": mean("iou", 4),
    }


def geometry_figures(found: np.ndarray, truth: np.ndarray, head: MorphableHead) -> dict[str, np.ndarray]:
    """Pose in degrees, mean distance of corresponding face vertices in mm (head frame; and after a rigid alignment)."""
    take = head.layout.take
    turns = [rotation_matrices(take(c, "rotation_rad")) for c in (found, truth)]
    face = np.unique(head.triangles[head.face_triangles])
    shapes = [head.vertices(take(c, "identity"), take(c, "expression"))[:, face] for c in (found, truth)]
    depth = [take(c, "translation_mm")[:, 2] for c in (found, truth)]
    return {
        "pose": np.degrees(np.arccos(np.clip((np.einsum("nij,nij->n", *turns) - 1) / 2, -1, 1))),
        "surface": np.array([rigid_distance_mm(a, b) for a, b in zip(*shapes, strict=True)]),
        "surface_unaligned": np.linalg.norm(shapes[0] - shapes[1], axis=-1).mean(1),
        "depth": 100.0 * np.abs(depth[0] / depth[1] - 1),
    }


def gaze_figures(found: np.ndarray, truth: np.ndarray, head: MorphableHead) -> dict[str, np.ndarray]:
    """Angle to the true gaze, degrees: of the fit, of eyes straight ahead, and of eyes that look into the camera."""
    take = head.layout.take
    wanted = gaze_vectors(take(truth, "gaze_rad"))
    camera = towards_camera(rotation_matrices(take(truth, "rotation_rad")), take(truth, "translation_mm"))
    answers = {"gaze": take(found, "gaze_rad"), "gaze_ahead": np.zeros_like(camera), "gaze_camera": camera}
    return {name: angle_degrees(gaze_vectors(answer), wanted) for name, answer in answers.items()}


def rigid_distance_mm(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of (V, 3) from (V, 3) after the best rotation and shift (Kabsch), mm."""
    p, q = a - a.mean(0), b - b.mean(0)
    left, _, right = np.linalg.svd(p.T.astype(np.float64) @ q)
    left[:, -1] *= np.linalg.det(left @ right)
    return float(np.linalg.norm(p @ (left @ right) - q, axis=-1).mean())


def colour_figures(
    found: np.ndarray, truth: dict[str, np.ndarray], masks: np.ndarray, head: MorphableHead
) -> dict[str, np.ndarray]:
    """Light (relative error, whole and up to its level), albedo (mean over the skin) and skin tone as Delta E 1976."""
    from faces.albedo import skin_colour

    lights = [head.layout.take(c, "light") for c in (found, truth["coefficients"])]
    level = (lights[0] * lights[1]).sum(1, keepdims=True) / np.square(lights[0]).sum(1, keepdims=True)
    size = np.linalg.norm(lights[1], axis=1)
    vertices = np.unique(head.triangles[skin_triangles(head)])
    albedo = [head.albedo(head.layout.take(c, "albedo"))[:, vertices] for c in (found, truth["coefficients"])]
    skin = skin_colour(truth["image"], found, masks, head)
    return {
        "light": np.linalg.norm(lights[0] - lights[1], axis=1) / size,
        "light_shape": np.linalg.norm(level * lights[0] - lights[1], axis=1) / size,
        "albedo": np.linalg.norm(lab(albedo[0]) - lab(albedo[1]), axis=-1).mean(1),
        "skin": np.linalg.norm(lab(skin[None]) - lab(truth["skin"][None]), axis=-1)[0],
    }


def mask_figures(
    found: np.ndarray, truth: dict[str, np.ndarray], masks: np.ndarray, head: MorphableHead
) -> dict[str, np.ndarray]:
    """Overlap of the visible face with the truth; covered pixels of the true silhouette: true, within the fitted one
    (all that can be found; the mask ends there), found, both."""
    seen, true = masks > 127, truth["mask"] > 127
    whole = silhouette(truth["coefficients"], head, truth["image"].shape[1]) > 0.5
    fitted = silhouette(found, head, whole.shape[1]) > 0.5
    hidden, marked = whole & ~true, whole & ~seen & fitted
    return {
        "iou": (seen & true).sum((1, 2)) / (seen | true).sum((1, 2)),
        "hidden": hidden.sum((1, 2)),
        "in_reach": (hidden & fitted).sum((1, 2)),
        "marked": marked.sum((1, 2)),
        "caught": (hidden & marked).sum((1, 2)),
        "bare": (true & fitted).sum((1, 2)),
        "lost": (true & fitted & ~seen).sum((1, 2)),
        **{name: truth[name] for name in ("kind", "lightness", "bearded")},
    }


def occluder_figures(every: dict[str, np.ndarray]) -> dict[str, float | int | str]:
    """Share of the truly covered pixels that are found, and that the fitted silhouette holds at all, by what covers the
    face; precision over all."""
    figures: dict[str, float | int | str] = {}
    for kind in ("hair", "glasses", "sunglasses", "hand", "strand"):
        rows = every["kind"] == kind
        if every["hidden"][rows].sum():
            share = every["caught"][rows].sum() / every["hidden"][rows].sum()
            figures[f"occluder_recall_percent_{kind}"] = round(100.0 * float(share), 1)
            held = every["in_reach"][rows].sum() / every["hidden"][rows].sum()
            figures[f"occluder_in_reach_percent_{kind}"] = round(100.0 * float(held), 1)
            figures[f"faces_{kind}"] = int(rows.sum())
    precision = every["caught"].sum() / max(every["marked"].sum(), 1)
    return figures | {"occluder_precision_percent": round(100.0 * float(precision), 1)} | lost_figures(every)


def lost_figures(every: dict[str, np.ndarray]) -> dict[str, float | int | str]:
    """Share of the bare pixels in the fitted silhouette that are wrongly taken out: all, beards, thirds of tones."""
    tone = every["lightness"]
    groups = {
        "": np.full(tone.shape, True),
        "_beard": every["bearded"],
        "_dark_skin": tone < TONES[0],
        "_medium_skin": (tone >= TONES[0]) & (tone < TONES[1]),
        "_light_skin": tone >= TONES[1],
    }
    return {
        f"bare_pixels_lost_percent{name}": round(
            100.0 * float(every["lost"][rows].sum() / every["bare"][rows].sum()), 2
        )
        for name, rows in groups.items()
        if every["bare"][rows].sum()
    }


def lab(linear: np.ndarray) -> np.ndarray:
    """(N, P, 3) linear RGB -> (N, P, 3) CIE L*a*b* (D65)."""
    return cv2.cvtColor(to_srgb(linear).astype(np.float32), cv2.COLOR_RGB2LAB)

"""What a picture's coefficients truly are, and the albedo that they stand for. Ours.

Shape, expression, pose, gaze and light are exact. The skin shader has more detail than the head's colour modes can
hold,
so the albedo coefficients are the head's nearest: least squares on the face's vertices with a standard normal prior.
"""

from functools import lru_cache

import numpy as np

from faces.morphable.base import MorphableHead
from faces.synthetic import shading
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.lighting import Rig
from faces.synthetic.person import Person
from faces.synthetic.pigment import albedo_at
from faces.synthetic.posing import Posed

#: Error of the fit that the prior balances, linear RGB.
_TOLERANCE = 0.02


def skin_of(owner: Person, wearer: Person, reading: str) -> np.ndarray:
    """(3,) float32 linear RGB of the plain skin that the picture shows."""
    return (wearer if reading == "full" else owner).skin_linear


def vertex_albedo(head: MorphableHead, owner: Person, wearer: Person, reading: str) -> np.ndarray:
    """(V, 3) float32 linear RGB of the skin before local pigment; teeth and mouth as the head's mean has them."""
    colours = np.repeat(skin_of(owner, wearer, reading)[None], len(head.mean_mm), 0)
    inner = _inner(head)
    colours[inner] = head.albedo_mean[inner]
    return colours


@lru_cache(maxsize=2)
def _inner(head: MorphableHead) -> np.ndarray:
    wet = np.isin(np.array(head.part_names)[head.parts], ("teeth", "mouth", "tongue"))
    return np.unique(head.triangles[wet])


@lru_cache(maxsize=2)
def _solver(head: MorphableHead) -> tuple[np.ndarray, np.ndarray]:
    """Face vertices (F,) that the fit reads, and the matrix (A, 3 F) that turns their residual into coefficients."""
    balls = np.concatenate([head.eye_left[::4], head.eye_right[::4]])
    chosen = np.concatenate(
        [np.setdiff1d(np.flatnonzero(head.face_region), np.union1d(_inner(head), balls))[::3], balls]
    )
    modes = head.albedo_modes[:, chosen].reshape(len(head.albedo_modes), -1).astype(np.float64)
    normal = modes @ modes.T + _TOLERANCE**2 * np.eye(len(modes))
    return chosen, np.linalg.solve(normal, modes)


def albedo_coefficients(head: MorphableHead, table: np.ndarray, body: Anatomy, parameters: np.ndarray) -> np.ndarray:
    """(A,) float32 from the vertex table (V, COLUMNS) and the shading parameters of a picture."""
    chosen, solver = _solver(head)
    colours = albedo_at(table[chosen], body.features, parameters)
    ball = body.eye_of[chosen] >= 0
    x, y, z = table[chosen][ball, 9:12].T
    ring = np.arctan2(np.hypot(x, y), z) * 12.2
    iris = (
        parameters[shading.P_IRIS_OUT : shading.P_IRIS_OUT + 3] + parameters[shading.P_IRIS_IN : shading.P_IRIS_IN + 3]
    ) / 2
    colours[ball] = np.where((ring < 5.85)[:, None], iris, head.albedo_mean[chosen[ball]])
    colours[ball] = np.where((ring < 1.9)[:, None], 0.006, colours[ball])
    residual = (colours - head.albedo_mean[chosen]).reshape(-1)
    return np.clip(solver @ residual, -4, 4).astype(np.float32)


def coefficients_of(head: MorphableHead, wearer: Person, posed: Posed, rig: Rig, albedo: np.ndarray) -> np.ndarray:
    """(D,) float32 coefficients of a picture: identity of the wearer, everything else of the scene."""
    count = len(head.identity_mm)
    return head.layout.pack(
        identity=np.array([wearer.shape[:count]]),
        expression=posed.expression[None],
        albedo=albedo[None],
        rotation_rad=posed.rotation_rad[None],
        translation_mm=posed.translation_mm[None],
        light=rig.sh()[None],
        gaze_rad=posed.gaze_rad[None],
    )[0]

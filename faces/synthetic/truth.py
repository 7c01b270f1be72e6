"""What a picture's coefficients truly are, and the albedo that they stand for. Ours."""

import numpy as np

from faces.morphable.base import MorphableHead
from faces.synthetic.lighting import Rig
from faces.synthetic.person import Person
from faces.synthetic.posing import Posed


def skin_of(owner: Person, wearer: Person, reading: str) -> np.ndarray:
    """(3,) float32 linear RGB of the plain skin that the picture shows."""
    return (wearer if reading == "full" else owner).skin_linear


def albedo_coefficients(head: MorphableHead, person: Person, tone: np.ndarray) -> np.ndarray:
    """(A,) float32: the person's own detail, and the plain skin's tone as near as the head's modes come to it."""
    count = len(head.albedo_modes)
    return np.zeros(count, np.float32)


def vertex_albedo(head: MorphableHead, owner: Person, wearer: Person, reading: str) -> np.ndarray:
    """(V, 3) float32 linear RGB of the skin before local pigment."""
    return np.repeat(skin_of(owner, wearer, reading)[None], len(head.mean_mm), 0)


def coefficients_of(
    head: MorphableHead, owner: Person, wearer: Person, posed: Posed, rig: Rig, reading: str
) -> np.ndarray:
    """(D,) float32 coefficients of a picture: identity of the wearer, everything else of the scene."""
    count = len(head.identity_mm)
    return head.layout.pack(
        identity=np.array([wearer.shape[:count]]),
        expression=posed.expression[None],
        albedo=albedo_coefficients(head, wearer, skin_of(owner, wearer, reading))[None],
        rotation_rad=posed.rotation_rad[None],
        translation_mm=posed.translation_mm[None],
        light=rig.sh()[None],
        gaze_rad=posed.gaze_rad[None],
    )[0]

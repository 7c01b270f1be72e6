"""Person and scene -> the numbers that the shading kernel reads. Ours."""

import numpy as np

from faces.synthetic import shading as s
from faces.synthetic import skin
from faces.synthetic.person import Person
from faces.synthetic.scene import Scene

#: Neckline of each kind of clothes: (height at the sides, depth in front, thickness), mm, and 0 round .. 1 pointed.
NECKLINES = {
    "tee": (-138.0, 24.0, 4.0, 0.0),
    "shirt": (-138.0, 46.0, 5.0, 1.0),
    "vneck": (-140.0, 62.0, 4.0, 1.0),
    "turtleneck": (-126.0, 6.0, 3.0, 0.0),
    "hoodie": (-136.0, 30.0, 9.0, 0.3),
    "jacket": (-138.0, 44.0, 5.0, 1.0),
}


def brow_linear(person: Person) -> np.ndarray:
    """Linear RGB of a person's brows: the natural hair, darkened; greying late."""
    natural = np.array(skin.HAIR_COLOURS[person.hair_colour])
    dark = natural * (1.0 - 0.45 * person.brow_darkness) + 0.006
    grey = 0.45 * person.grey**2
    return dark * (1 - grey) + np.array([0.21, 0.185, 0.16]) * grey


def parameters(person: Person, scene: Scene, axes: np.ndarray) -> np.ndarray:
    """(N_PARAMETERS,) float64 for shading.py. axes (2, 3): gaze of the right and the left eye, world frame.

    What belongs to identity comes from `person`, the hair's colour on the scalp from the scene.
    """
    p = np.zeros(s.N_PARAMETERS)
    fair = np.interp(person.lightness, [30, 62], [0.35, 1.0])
    p[s.P_RUDDY], p[s.P_BLOTCH], p[s.P_GLOSS] = (
        (0.15 + 0.85 * person.ruddiness) * fair,
        person.blotchiness,
        person.gloss,
    )
    p[s.P_LIP], p[s.P_SHADE], p[s.P_LINES], p[s.P_FRECKLES] = (
        person.lip_pigment,
        person.eye_shade,
        person.lines,
        person.freckles,
    )
    if person.beard_style == "stubble":
        p[s.P_STUBBLE] = 0.55 * person.beard_density
    elif person.masculinity > 0.35:
        p[s.P_STUBBLE] = 0.13
    p[s.P_BROW] = person.brow_density + 0.3 * scene.brow_makeup
    p[s.P_LIPSTICK], p[s.P_LINER] = 0.75 * scene.lipstick, 0.15 + 0.55 * scene.eyeliner
    p[s.P_EYESHADOW] = scene.eyeshadow
    hair = np.array(scene.hair_linear) * (1 - scene.hair_grey) + 0.36 * scene.hair_grey
    p[s.P_SCALP] = {"bald": 0.0, "buzz": 0.65}.get(scene.hair_style, 0.9)
    p[s.P_HAIR_RGB : s.P_HAIR_RGB + 3] = hair * 0.6
    p[s.P_BROW_RGB : s.P_BROW_RGB + 3] = brow_linear(person)
    offsets = np.random.Generator(np.random.PCG64(person.texture_seed)).uniform(0, 512, 2)
    p[s.P_NOISE_U], p[s.P_NOISE_V] = offsets
    p[s.P_LIPSTICK_RGB : s.P_LIPSTICK_RGB + 3] = np.array(scene.lipstick_linear) * np.interp(
        person.lightness, [30, 62], [0.42, 1.0]
    )
    outer, inner = (np.array(c) for c in skin.IRIS_COLOURS[person.iris])
    p[s.P_IRIS_OUT : s.P_IRIS_OUT + 3] = outer
    p[s.P_IRIS_IN : s.P_IRIS_IN + 3] = outer + (inner - outer) * person.iris_warmth
    p[s.P_LIMBAL], p[s.P_SCLERA] = person.limbal, np.interp(person.lightness, [30, 66], [0.43, 0.465])
    light = float(np.mean(scene.key.tint)) * scene.key.strength * scene.exposure
    p[s.P_PUPIL] = np.clip(2.5 - 0.8 * light, 1.4, 2.6)
    height, depth, _, pointed = NECKLINES[scene.clothes]
    p[s.P_COLLAR], p[s.P_NECKLINE], p[s.P_NECK_ROUND] = height, depth, 1.0 - pointed
    p[s.P_EYE_AXIS_R : s.P_EYE_AXIS_R + 3], p[s.P_EYE_AXIS_L : s.P_EYE_AXIS_L + 3] = axes
    return p

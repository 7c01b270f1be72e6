"""The picture of docs/heads.md: the built-in head from three sides, its expressions, and random people without hair.

python -m faces.morphable.portrait docs/images/head_builtin.jpg
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from faces.camera import Camera
from faces.files import atomic_file
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head

SIZE_PX = 200
DISTANCE_MM = 1150.0
#: where the origin of the head stands in the camera frame, mm: above the middle, so that the whole head is seen.
TRANSLATION_MM = (0.0, -8.0, DISTANCE_MM)
MIDDLE_BEHIND_EYES_MM = 55.0
BACKGROUND = 0.045
#: one cell each: activations (without a side: both sides) of the row of expressions.
EXPRESSIONS: tuple[dict[str, float], ...] = (
    {"mouthSmile": 1.0, "cheekSquint": 0.5, "jawOpen": 0.12, "mouthUpperUp": 0.35},
    {"jawOpen": 0.9},
    {"eyeBlink": 1.0},
    {"browInnerUp": 1.0, "eyeWide": 0.7},
    {"browDown": 1.0, "noseSneer": 0.7, "mouthPress": 0.6},
    {"mouthPucker": 1.0},
)
YAWS_DEGREES = (0.0, 35.0, 90.0)


def activations(head: MorphableHead, wanted: dict[str, float]) -> np.ndarray:
    """(E,) float32 expression vector; a name without its side sets both sides."""
    values = np.zeros(head.layout.n_expression, np.float32)
    for i, name in enumerate(head.expression_names):
        values[i] = wanted.get(name, wanted.get(name.rpartition("_")[0], 0.0))
    return values


def _draw(head: MorphableHead, reading: str | np.ndarray, yaw_degrees: float, **groups: np.ndarray) -> np.ndarray:
    """One cell, (SIZE_PX, SIZE_PX, 3) sRGB 0..1."""
    from faces.render.mesh_image import render_mesh
    from faces.render.shading import constant_light, directional_light, to_linear, to_srgb

    light = constant_light(0.34) + directional_light(np.array([-0.45, 0.55, 0.75]), np.full(3, 0.9))
    light = light + directional_light(np.array([0.9, 0.1, 0.3]), np.full(3, 0.16))
    turn = np.radians(yaw_degrees)
    middle = np.array(TRANSLATION_MM) + np.array([MIDDLE_BEHIND_EYES_MM * np.sin(turn), 0.0, 0.0])
    coefficients = head.layout.pack(
        rotation_rad=np.array([[0.0, turn, 0.0]]),
        translation_mm=middle[None],
        light=light[None],
        **{name: values[None] for name, values in groups.items()},
    )
    drawn = render_mesh(head, coefficients, Camera.centred(SIZE_PX), albedo=reading, antialias=3)
    linear = to_linear(drawn.image[0]) + (1 - drawn.alpha[0][..., None]) * BACKGROUND
    return np.asarray(to_srgb(np.clip(linear, 0, 1)))


def picture(people: int = 12, seed: int = 4) -> np.ndarray:
    """The sheet (rows, columns, 3) uint8: views in clay and colour, six expressions, `people` random identities."""
    head = load_head("builtin")
    clay = np.full(3, 0.5, np.float32)
    cells = [_draw(head, albedo, yaw) for albedo in (clay, "mean") for yaw in YAWS_DEGREES]
    cells += [_draw(head, "mean", 8.0, expression=activations(head, wanted)) for wanted in EXPRESSIONS]
    rng = np.random.Generator(np.random.PCG64(seed))
    for i in range(people):
        identity, colour = rng.standard_normal(head.layout.n_identity), rng.standard_normal(head.layout.n_albedo)
        cells.append(_draw(head, "own", (0.0, 25.0, -30.0)[i % 3], identity=identity, albedo=colour))
    rows = [np.concatenate(cells[i : i + 6], axis=1) for i in range(0, len(cells), 6)]
    return np.asarray(np.round(np.concatenate(rows) * 255), dtype=np.uint8)


def main(arguments: list[str]) -> int:
    """Write the picture to the path given (default head_builtin.jpg)."""
    path = Path(arguments[0] if arguments else "head_builtin.jpg")
    with atomic_file(path) as scratch:
        Image.fromarray(picture()).save(scratch, format="JPEG", quality=88)
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The 52 expressions of the built-in head, by ARKit's names (side _L or _R is the subject's). Ours.

Brushes for the soft parts, a rotation about the joint for the jaw, and lids that slide on the eyeballs. eyeLook* move the
lids only; the balls are turned by the head's own gaze angles.
"""

import numpy as np

from faces.morphable.builtin_brush import Brush as B
from faces.morphable.builtin_brush import paint
from faces.morphable.builtin_identity import finish, upper_lip_weight
from faces.morphable.builtin_lids import close_lids, lid_field
from faces.morphable.builtin_mesh import Mesh

JAW_JOINT = np.array([0.0, -18.0, -70.0])
JAW_OPEN_DEGREES = 19.0

#: both halves' brushes; names in TWO_SIDED are split into _L and _R.
BRUSHES: dict[str, tuple[B, ...]] = {
    "browInnerUp": (B((13, 23, 27), (15, 13, 22), move=(-0.6, 6.0, 0.4)), B((0, 26, 28), (14, 14, 20), move=(0, 3.0, 0)), B((15, 42, 25), (20, 9, 20), move=(0, 2.2, 0.5))),
    "browDown": (B((17, 21, 26), (17, 11, 20), move=(-2.4, -4.6, 1.0)), B((42, 21, 17), (14, 10, 18), move=(-0.8, -2.4, 0.2)), B((5, 24, 28), (3.0, 9, 16), move=(-0.4, -1.0, -1.0)), B((30, 12.5, 16), (16, 5, 12), move=(-0.4, -1.6, 0.6))),
    "browOuterUp": (B((42, 22, 17), (16, 13, 22), move=(0.6, 6.0, -0.4)), B((45, 40, 12), (18, 10, 20), move=(0, 1.8, 0.3)), B((42, 13, 13), (12, 6, 12), move=(0, 1.6, 0))),
    "cheekPuff": (B((38, -58, 6), (17, 17, 26), move=(3.6, 0, 7.0)), B((48, -58, -12), (18, 20, 26), move=(5.5, 0, 1.5)), B((14, -58, 26), (14, 12, 18), move=(0.6, 0, 2.0))),
    "cheekSquint": (B((35, -20, 14), (17, 9, 16), move=(0.4, 4.2, 1.8)), B((34, -10, 11), (15, 4.5, 10), move=(0, 1.8, 1.2))),
    "noseSneer": (B((15, -37, 26), (9, 10, 16), move=(0.8, 4.2, -0.4)), B((16, -50, 26), (12, 9, 14), move=(0.6, 2.8, 0), lip="upper"), B((8, -6, 20), (7, 9, 12), move=(-0.5, 1.6, 0.7)), B((20, -36, 18), (5, 10, 10), move=(0, 1.2, -0.8))),
    "mouthSmile": (
        B((25.5, -67, 14), (12, 9.5, 20), move=(5.4, 6.2, -3.0)), B((14, -66, 23), (10, 8, 20), move=(1.6, 1.4, -1.2)),
        B((38, -38, 14), (17, 14, 20), move=(0.8, 4.6, 2.6)), B((34, -52, 12), (10, 12, 18), move=(3.0, 3.6, 0.8)),
        B((31, -66, 12), (4.0, 9, 12), move=(0.4, 0.6, -1.6)), B((24.5, -48, 19), (4, 8, 10), move=(0, 0.5, -1.1)),
        B((33, -11, 11), (14, 4.5, 10), move=(0, 1.2, 0.9)), B((12, -73, 26), (10, 8, 18), move=(0.8, 0.6, -0.8)),
    ),
    "mouthFrown": (B((25.5, -68, 14), (11, 8.5, 18), move=(0.6, -5.2, -0.6)), B((28, -78, 12), (10, 9, 14), move=(0.4, -2.6, 0.5)), B((0, -88, 23), (14, 8, 16), move=(0, 0.8, 0.9))),
    "mouthDimple": (B((27, -67, 13), (8, 8, 15), move=(3.6, 0.6, -2.8)), B((32, -66, 11), (5, 8, 12), move=(0, 0, -1.3))),
    "mouthStretch": (B((26, -68, 14), (13, 12, 20), move=(5.6, -2.6, -3.0)), B((32, -84, 6), (14, 14, 18), move=(2.6, -1.6, 0))),
    "mouthPress": (B((14, -63, 25), (12, 5, 16), move=(0.4, -1.0, -1.2), lip="upper"), B((14, -70, 25), (12, 5, 16), move=(0.4, 1.4, -1.2), lip="lower"), B((27, -67, 13), (7, 7, 14), move=(1.2, 0.4, -0.8))),
    "mouthLowerDown": (B((12, -69, 27), (10.5, 8, 20), move=(0.8, -6.2, -0.6), lip="lower"), B((14, -80, 22), (12, 9, 16), move=(0.6, -2.6, 0.2), lip="lower")),
    "mouthUpperUp": (B((12, -62, 27), (10.5, 7.5, 20), move=(0.4, 5.2, 0.3), lip="upper"), B((17, -48, 24), (10, 8, 14), move=(0.4, 2.4, 0.6), lip="upper")),
    "mouthPucker": (
        B((0, -66, 24), (31, 13, 26), grow=(-0.42, 0, 0)), B((0, -66, 28), (14, 12, 22), move=(0, 0, 5.6)), B((0, -61, 29), (15, 4.5, 16), move=(0, -1.0, 0), lip="upper"),
        B((0, -71, 29), (15, 4.5, 16), move=(0, 1.2, 0), lip="lower"), B((33, -58, 12), (15, 20, 20), move=(-2.0, 0, -1.6)),
    ),
    "mouthFunnel": (
        B((0, -66, 24), (30, 13, 26), grow=(-0.3, 0, 0)), B((0, -66, 28), (15, 12, 22), move=(0, 0, 4.6)), B((0, -63, 29), (14, 7, 20), move=(0, 4.0, 1.0), lip="upper"),
        B((0, -69, 29), (14, 7, 20), move=(0, -5.2, 1.2), lip="lower"),
    ),
    "mouthLeft": (B((0, -67, 24), (30, 13, 26), move=(7.0, 0, 0)), B((30, -64, 12), (12, 14, 18), move=(1.6, 0.8, -1.4), side=1), B((24, -67, 14), (12, 10, 18), move=(0.6, 0, 2.4), side=-1)),
    "mouthRollUpper": (B((0, -62, 30), (22, 3.6, 18), move=(0, -1.8, -3.0), lip="upper"), B((0, -58, 30), (20, 3, 16), move=(0, -1.6, -0.8), lip="upper")),
    "mouthRollLower": (B((0, -70, 30), (21, 4, 18), move=(0, 2.2, -3.2), lip="lower"), B((0, -75, 28), (19, 3.5, 16), move=(0, 2.4, -0.8), lip="lower")),
    "mouthShrugUpper": (B((0, -62, 29), (22, 8, 20), move=(0, 2.8, 1.8), lip="upper"),),
    "mouthShrugLower": (B((0, -71, 28), (22, 9, 20), move=(0, 3.4, 2.4)), B((0, -95, 24), (18, 13, 20), move=(0, 3.0, 0.8)), B((0, -83, 22), (14, 5, 14), move=(0, 0.6, -1.2))),
}  # fmt: skip
TWO_SIDED = (
    "browDown", "browOuterUp", "cheekSquint", "noseSneer", "mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch",
    "mouthPress", "mouthLowerDown", "mouthUpperUp", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp",
    "eyeSquint", "eyeWide",
)  # fmt: skip
#: ARKit's 52 names, sides written _L and _R.
NAMES: tuple[str, ...] = (
    *(f"{name}_{side}" for name in ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide") for side in "LR"),
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    *(f"{name}_{side}" for name in ("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch") for side in "LR"),
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    *(f"{name}_{side}" for name in ("mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown") for side in "LR"),
    "browInnerUp", "browOuterUp_L", "browOuterUp_R", "cheekPuff",
    *(f"{name}_{side}" for name in ("cheekSquint", "noseSneer") for side in "LR"), "tongueOut",
)  # fmt: skip


def _smooth(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def jaw_weight(mesh: Mesh, upper: np.ndarray) -> np.ndarray:
    """(V,) how much of the jaw's movement each vertex follows: 1 on the lower lip, chin, lower teeth and tongue."""
    p = mesh.points
    a = np.abs(np.where(np.isnan(mesh.chart[:, 0]), 0, mesh.chart[:, 0]))
    line = -66.5 + 0.30 * np.clip(
        a - 27, 0, None
    )  # the cheek shears along a line from the corner of the mouth to the ear
    width = 0.8 + 0.85 * np.clip(a - 24, 0, 40)
    chart_b = np.where(np.isnan(mesh.chart[:, 1]), 0, mesh.chart[:, 1])
    # The middle of the lower lip follows the jaw whole and the corners half, so that the open mouth is round.
    t = np.clip(a / 27.0, 0, 1)
    near = np.exp(-((np.clip(np.abs(chart_b + 66.5) - 2.5, 0, None) / 7.0) ** 2))
    weight = np.where(a < 27, (1 - upper) * (1 - 0.5 * t**2.6 * near) + upper * 0.42 * t**3.5 * near, 0.0)
    slope = _smooth((line - chart_b) / width * 0.5 + 0.5)
    beside = _smooth((a - 24) / 3.0)
    weight = weight * (1 - beside) + slope * beside
    throat = _smooth((chart_b + 158) / 44)  # fades from the edge of the jaw down the throat
    back = _smooth((p[:, 2] + 78) / 36)
    weight = weight * throat * back
    weight[mesh.is_piece("mouth")] = (1 - upper)[mesh.is_piece("mouth")]
    weight[mesh.is_piece("teeth_lower", "tongue")] = 1.0
    weight[mesh.is_piece("teeth_upper", "ear", "eye_left", "eye_right", "lid")] = 0.0
    return weight


def _jaw_open(mesh: Mesh, weight: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    offset = mesh.points - JAW_JOINT
    y, z = offset[:, 1], offset[:, 2]
    moved = np.stack([0 * y, y * np.cos(angle) - z * np.sin(angle) - y, y * np.sin(angle) + z * np.cos(angle) - z], 1)
    moved[:, 2] += 2.0 * np.sin(angle) * 3  # the joint glides forward as it opens
    return moved * weight[:, None]


def _special(mesh: Mesh, upper: np.ndarray) -> dict[str, np.ndarray]:
    jaw = jaw_weight(mesh, upper)
    zero = (0.0, 0.0)
    opened = _jaw_open(mesh, jaw, JAW_OPEN_DEGREES)
    corner = paint(
        (
            B((25, -67, 14), (9, 8, 14), move=(-1.6, 0, -0.6)),
            B((12, -62, 27), (18, 6, 16), move=(0, 0.8, 0), lip="upper"),
        ),
        mesh.points,
        upper,
        mesh.is_piece("teeth_upper", "teeth_lower", "tongue"),
    )
    tongue = np.zeros_like(mesh.points)
    on = mesh.is_piece("tongue")
    along = 1 - mesh.local[on, 0]
    tongue[on] = np.stack([0 * along, -2.0 * along**2 + 3.5 * along, 26.0 * along**1.3], 1)
    lips_meet = -opened * (mesh.is_piece("skin", "mouth") * _lip_zone(mesh))[:, None]
    return {
        "jawOpen": finish(mesh, opened + corner),
        "mouthClose": finish(mesh, lips_meet),
        "jawForward": finish(mesh, jaw[:, None] * np.array([0.0, 0.6, 5.0])),
        "jawLeft": finish(mesh, jaw[:, None] * np.array([6.0, 0.0, 0.5])),
        "jawRight": finish(mesh, jaw[:, None] * np.array([-6.0, 0.0, 0.5])),
        "tongueOut": tongue,
        "eyeBlink": close_lids(mesh, 0.86, 0.14),
        "eyeSquint": close_lids(mesh, 0.16, 0.26, overlap_mm=0.0),
        "eyeWide": lid_field(mesh, np.array([zero, (0.0, 2.0), zero, (0.0, -0.6)])),
        "eyeLookDown": close_lids(mesh, 0.42, -0.08, overlap_mm=0.0),
        "eyeLookUp": lid_field(mesh, np.array([zero, (0.0, 1.6), zero, (0.0, 0.7)])),
        "eyeLookIn": lid_field(mesh, np.array([(-0.3, 0.0), (-0.5, 0.0), zero, (-0.5, 0.0)])),
        "eyeLookOut": lid_field(mesh, np.array([zero, (0.5, 0.0), (0.3, 0.0), (0.5, 0.0)])),
    }


def _lip_zone(mesh: Mesh) -> np.ndarray:
    """(V,) 1 on the lower lip, fading towards the chin and the cheeks."""
    p = mesh.points
    return np.exp(-((np.clip(-p[:, 1] - 72, 0, None) / 7.0) ** 2) - (np.clip(np.abs(p[:, 0]) - 22, 0, None) / 7.0) ** 2)


def _one_side(mesh: Mesh, field: np.ndarray, side: str) -> np.ndarray:
    sign = 1.0 if side == "L" else -1.0
    weight = _smooth(sign * mesh.points[:, 0] / 10.0 + 0.5)
    return field * weight[:, None]


def expression_modes(mesh: Mesh) -> np.ndarray:
    """(52, V, 3) float32 displacement at activation 1 of every expression in NAMES, millimetres."""
    upper = upper_lip_weight(mesh)
    broad_only = mesh.is_piece("teeth_upper", "teeth_lower", "tongue", "mouth", "ear")
    fields = _special(mesh, upper)
    for name, brushes in BRUSHES.items():
        painted = paint(brushes, mesh.points, upper, broad_only)
        painted[mesh.is_piece("teeth_upper", "teeth_lower", "tongue")] = 0.0
        fields[name] = finish(mesh, painted, rigid_eyes=False)
        fields[name][mesh.is_piece("eye_left", "eye_right")] = 0.0
        fields[name][mesh.is_piece("lid")] = 0.0
    fields["mouthRight"] = fields["mouthLeft"][mesh.mirror] * [-1.0, 1.0, 1.0]
    fields["cheekPuff"] = fields["cheekPuff"]
    modes = []
    for name in NAMES:
        base, _, side = name.partition("_")
        modes.append(_one_side(mesh, fields[base], side) if side else fields[base])
    return np.stack(modes).astype(np.float32)

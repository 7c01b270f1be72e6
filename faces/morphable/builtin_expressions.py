"""The 52 expressions of the built-in head, by ARKit's names (side _L or _R is the subject's). Ours.

Brushes for the soft parts, a rotation about the joint for the jaw, and lids that slide on the eyeballs. eyeLook* move
the lids only; the balls are turned by the head's own gaze angles.
"""

import numpy as np

from faces.morphable.builtin_brush import Brush as B
from faces.morphable.builtin_brush import paint
from faces.morphable.builtin_expression_table import BRUSHES, NAMES
from faces.morphable.builtin_identity import finish, upper_lip_weight
from faces.morphable.builtin_lids import close_lids, lid_field
from faces.morphable.builtin_mesh import Mesh

JAW_JOINT = np.array([0.0, -18.0, -70.0])
JAW_OPEN_DEGREES = 19.0


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
    tongue[on] = np.stack([0 * along, 11.0 * np.sin(2.2 * along), 27.0 * along**1.3], 1)
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

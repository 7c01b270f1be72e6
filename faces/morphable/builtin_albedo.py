"""Mean colour and colour modes of the built-in head, per vertex, linear RGB. Ours.

Skin follows a two-pigment ramp (melanin darkens and yellows, haemoglobin reddens; Krishnaswamy and Baranoski 2004 for
the direction of both); regions are stains with soft edges at named places of the face.
"""

import numpy as np
from scipy.spatial.distance import cdist

from faces.morphable import builtin_points as table
from faces.morphable.builtin_layout import EYE_STEPS, catmull_rom
from faces.morphable.builtin_mesh import PART_NAMES, Mesh
from faces.morphable.builtin_surface import crease_height, unroll

SKIN = np.array([0.44, 0.225, 0.14])
MELANIN = np.array([0.142, 0.076, 0.047])
HAEMOGLOBIN = np.array([0.012, -0.005, -0.0035])
LIP_RATIO = np.array([0.82, 0.52, 0.56])
#: left brow from the inner to the outer end: (x, y, half-height) mm.
BROW = ((10.5, 19.0, 3.4), (18, 21.2, 3.5), (27, 23.4, 3.0), (36, 24.4, 2.4), (44, 22.6, 1.7), (51, 18.6, 0.8))
#: colour stains: name -> ((x, y, z), reach mm, linear RGB change at one standard deviation)
STAINS: dict[str, tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]] = {
    "cheeks_red": (((42, -32, 10), (19, 17, 22)),),
    "nose_red": (((0, -36, 40), (15, 12, 20)),),
    "chin_red": (((0, -100, 22), (18, 14, 20)),),
    "forehead_light": (((0, 48, 26), (45, 24, 30)),),
    "ears_red": (((76, -10, -90), (16, 42, 28)),),
    "under_eye_dark": (((29, -11, 11), (14, 5.5, 10)),),
    "under_eye_violet": (((25, -10, 10), (11, 5, 10)),),
    "upper_lid_dark": (((31, 9, 13), (15, 5.5, 10)),),
    "crows_feet_dark": (((54, 0, -3), (9, 10, 14)),),
    "around_mouth_dark": (((0, -66, 26), (32, 17, 30)),),
    "moustache_shadow": (((11, -52, 27), (14, 5.5, 14)),),
    "beard_shadow": (((0, -96, 16), (38, 20, 34)), ((44, -84, -18), (18, 22, 34))),
    "sideburn_shadow": (((66, -34, -48), (14, 22, 18)),),
    "neck_light": (((0, -145, -50), (60, 28, 60)),),
    "temples_dark": (((58, 25, -12), (16, 22, 24)),),
    "cheekbone_light": (((48, -16, 8), (14, 9, 16)),),
    "nose_ridge_light": (((0, -18, 32), (5, 20, 14)),),
    "freckle_zone": (((26, -22, 15), (18, 10, 16)), ((0, -20, 34), (10, 10, 14))),
}  # fmt: skip
STAIN_COLOURS: dict[str, tuple[float, float, float]] = {
    "cheeks_red": (0.045, -0.022, -0.018),
    "nose_red": (0.045, -0.02, -0.016),
    "chin_red": (0.03, -0.014, -0.012),
    "forehead_light": (0.04, 0.03, 0.024),
    "ears_red": (0.05, -0.02, -0.014),
    "under_eye_dark": (-0.05, -0.04, -0.028),
    "under_eye_violet": (-0.02, -0.028, -0.004),
    "upper_lid_dark": (-0.05, -0.04, -0.028),
    "crows_feet_dark": (-0.03, -0.024, -0.018),
    "around_mouth_dark": (-0.04, -0.032, -0.024),
    "moustache_shadow": (-0.055, -0.036, -0.022),
    "beard_shadow": (-0.06, -0.036, -0.02),
    "sideburn_shadow": (-0.05, -0.03, -0.018),
    "neck_light": (0.03, 0.024, 0.02),
    "temples_dark": (-0.03, -0.024, -0.018),
    "cheekbone_light": (0.03, 0.022, 0.018),
    "nose_ridge_light": (0.03, 0.022, 0.018),
    "freckle_zone": (-0.04, -0.036, -0.028),
}
SMOOTH_RMS = 0.004
SMOOTH_WIDTHS_MM = (60.0, 60.0, 40.0, 40.0, 40.0, 26.0, 26.0, 26.0, 17.0, 17.0, 17.0, 17.0)


def stain(mesh: Mesh, places: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]) -> np.ndarray:
    """(V,) weight 0..1 of soft ellipsoids, both sides."""
    weight = np.zeros(len(mesh.points))
    local = mesh.points * [1, 1, 1]
    for at, reach in places:
        for sign in (1.0, -1.0):
            offset = (local * [sign, 1, 1] - np.array(at)) / np.array(reach)
            weight = np.maximum(weight, np.exp(-(offset**2).sum(1)))
    return weight


def brow_weight(mesh: Mesh) -> np.ndarray:
    """(V,) 0..1 where the brows grow."""
    curve = catmull_rom(np.array(BROW), 60, closed=False)
    x = np.abs(mesh.points[:, 0])
    middle, half = np.interp(x, curve[:, 0], curve[:, 1]), np.interp(x, curve[:, 0], curve[:, 2])
    within = np.clip((x - 8.5) / 3, 0, 1) * np.clip((52.5 - x) / 4, 0, 1)
    return (
        within
        * np.exp(-(((mesh.points[:, 1] - middle) / (half + 0.4)) ** 2))
        * mesh.is_piece("skin")
        * (mesh.points[:, 2] > -20)
    )


def lip_weight(mesh: Mesh) -> np.ndarray:
    """(V,) 1 on the red of the lips, 0.35 on its border."""
    weight = np.zeros(len(mesh.points))
    for rings in (mesh.layout.lip_upper, mesh.layout.lip_lower):
        for ring, value in zip(rings, (1, 1, 1, 0.9, 0.3), strict=True):
            weight[ring] = np.maximum(weight[ring], value)
    weight = np.maximum(weight, weight[mesh.left])
    return weight


def _eye_colours(mesh: Mesh, colours: np.ndarray, iris: np.ndarray) -> None:
    ball = mesh.is_piece("eye_left", "eye_right")
    angle = np.degrees(mesh.local[ball, 0])
    white = np.array([0.62, 0.58, 0.55]) - np.clip((angle - 30) / 40, 0, 1)[:, None] * [0.10, 0.16, 0.17]
    tint = iris * (0.75 + 0.5 * np.clip((angle - 11) / 12, 0, 1) - 0.75 * np.clip((angle - 24) / 5, 0, 1))[:, None]
    colours[ball] = np.where(angle[:, None] < 9.5, 0.006, np.where(angle[:, None] < 29, tint, white))


def mean_albedo(mesh: Mesh) -> np.ndarray:
    """(V, 3) float32 linear RGB of the mean head."""
    colours = np.tile(SKIN, (len(mesh.points), 1))
    for name, strength in (
        ("cheeks_red", 0.9),
        ("nose_red", 0.7),
        ("chin_red", 0.4),
        ("ears_red", 0.7),
        ("under_eye_dark", 0.45),
        ("upper_lid_dark", 0.4),
    ):
        colours += strength * stain(mesh, STAINS[name])[:, None] * np.array(STAIN_COLOURS[name])
    lips = lip_weight(mesh)[:, None]
    colours = colours * (1 - lips) + lips * SKIN * LIP_RATIO
    brows = brow_weight(mesh)[:, None]
    colours = colours * (1 - 0.72 * brows) + 0.72 * brows * np.array([0.05, 0.032, 0.022])
    colours *= 1 - 0.93 * nostril_weight(mesh)[:, None]
    _line_eyes(mesh, colours)
    inside = mesh.is_piece("mouth")
    dark = np.clip(mesh.local[inside, 0] / 4.0, 0, 1)[:, None]
    colours[inside] = np.array([0.30, 0.09, 0.08]) * (1 - dark) + np.array([0.035, 0.010, 0.010]) * dark
    for row in ("teeth_upper", "teeth_lower"):
        tooth = mesh.is_piece(row)
        gum = mesh.local[tooth, 0] < -0.02
        across = mesh.local[tooth, 1] % 1.0
        gap = np.clip(np.minimum(across, 1 - across) / 0.05, 0.45, 1)
        back = np.clip(1.3 - mesh.local[tooth, 1] / 4.5, 0.22, 1)
        colours[tooth] = np.where(
            gum[:, None], [0.34, 0.12, 0.11], np.array([0.66, 0.60, 0.50]) * (gap * back)[:, None]
        )
    colours[mesh.is_piece("tongue")] = [0.36, 0.13, 0.12]
    _eye_colours(mesh, colours, np.array([0.10, 0.055, 0.028]))
    shoulders = np.zeros(len(colours), bool)
    shoulders[mesh.triangles[mesh.parts == PART_NAMES.index("shoulders")]] = True
    colours[shoulders] = [0.10, 0.13, 0.20]
    return np.clip(colours, 0.0, 1.0).astype(np.float32)


def nostril_weight(mesh: Mesh) -> np.ndarray:
    """(V,) 0..1 inside the nostrils."""
    from faces.morphable.builtin_surface import NOSTRIL_CENTRE, NOSTRIL_RADII

    chart = np.where(np.isnan(mesh.chart), 1e3, mesh.chart) * [1, 1]
    chart[:, 0] = np.abs(chart[:, 0])
    q = (((chart - NOSTRIL_CENTRE) / NOSTRIL_RADII) ** 2).sum(1)
    return np.clip((1.5 - q) / 0.55, 0, 1)


def _line_eyes(mesh: Mesh, colours: np.ndarray) -> None:
    """Lash lines, the fold of the lid, the wet edge and the pink corner."""
    offset = mesh.points * [1, 1, 1]
    x = np.abs(offset[:, 0]) - table.EYE_CENTRE[0]
    fold = (
        np.exp(-(((offset[:, 1] - crease_height(x)) / 0.9) ** 2))
        * (np.abs(x) < 15)
        * (offset[:, 2] > 0)
        * mesh.is_piece("skin")
    )
    colours *= 1 - 0.22 * fold[:, None]
    loop = mesh.layout.eye_loop
    step = np.arange(EYE_STEPS) / EYE_STEPS
    from_corner = np.minimum(np.minimum(step, 1 - step), np.abs(step - 0.5))
    lash = np.where(step < 0.5, 0.72, 0.30) * np.clip(from_corner / 0.06, 0, 1)
    for edge in (loop, mesh.mirror[loop]):
        colours[edge] = colours[edge] * (1 - lash[:, None]) + lash[:, None] * np.array([0.03, 0.02, 0.017])
    lid = mesh.is_piece("lid")
    pink = np.array([0.46, 0.19, 0.16])
    ring = mesh.local[lid, 0]
    colours[lid] = np.where(
        ring[:, None] <= 1, colours[lid] * 0.45 + pink * 0.4, pink * np.where(ring > 3, 0.5, 1.0)[:, None]
    )


def albedo_names() -> tuple[str, ...]:
    """Names of the colour modes in their order."""
    fixed = (
        "melanin",
        "haemoglobin",
        "undertone",
        "lips_red",
        "lips_dark",
        "brows_dark",
        "iris_light",
        "iris_blue",
        "iris_green",
        "sclera_red",
        "teeth_yellow",
    )
    return (*fixed, *STAINS, *(f"smooth_{i}" for i in range(len(SMOOTH_WIDTHS_MM))))


def albedo_modes(mesh: Mesh) -> np.ndarray:
    """(A, V, 3) float32 linear RGB change by one standard deviation of every colour mode."""
    skin = mesh.is_piece("skin", "lid", "ear").astype(float)
    lips, brows, dark = lip_weight(mesh), brow_weight(mesh), nostril_weight(mesh)
    flesh = skin * (1 - 0.75 * brows) * (1 - 0.96 * dark)
    shoulders = np.zeros(len(skin), bool)
    shoulders[mesh.triangles[mesh.parts == PART_NAMES.index("shoulders")]] = True
    flesh[shoulders] = 0.0
    angle = np.degrees(np.where(mesh.is_piece("eye_left", "eye_right"), mesh.local[:, 0], 0.0))
    iris = ((angle > 9.5) & (angle < 29)).astype(float)
    white = (angle >= 29).astype(float)
    tooth = (mesh.is_piece("teeth_upper", "teeth_lower") & (mesh.local[:, 0] > -0.02)).astype(float)
    modes = [
        flesh[:, None] * (1 - lips[:, None] * (1 - LIP_RATIO * [0.9, 0.8, 0.85])) * MELANIN,
        flesh[:, None] * HAEMOGLOBIN,
        flesh[:, None] * [0.004, 0.001, -0.005],
        lips[:, None] * [0.03, -0.010, -0.007],
        lips[:, None] * [-0.05, -0.022, -0.018],
        brows[:, None] * [-0.05, -0.035, -0.025],
        iris[:, None] * [0.03, 0.024, 0.016],
        iris[:, None] * [-0.02, 0.006, 0.03],
        iris[:, None] * [0.0, 0.018, 0.0],
        white[:, None] * [0.0, -0.025, -0.025],
        tooth[:, None] * [-0.02, -0.04, -0.07],
    ]
    modes += [0.36 * (flesh * stain(mesh, STAINS[name]))[:, None] * np.array(STAIN_COLOURS[name]) for name in STAINS]
    rng = np.random.Generator(np.random.PCG64(77))
    for width in SMOOTH_WIDTHS_MM:
        places = mesh.points[mesh.is_piece("skin")][rng.choice(int(mesh.is_piece("skin").sum()), 40, replace=False)]
        tint = rng.standard_normal((40, 1)) * [1.0, 0.75, 0.6] + 0.12 * rng.standard_normal((40, 3))
        spots = np.exp(-cdist(mesh.points, places, "sqeuclidean") / width**2) @ tint
        modes.append(flesh[:, None] * spots * (SMOOTH_RMS / np.sqrt((spots[flesh > 0.9] ** 2).mean())))
    return np.stack(modes).astype(np.float32)


def brow_polylines() -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower edge of the left brow in the layout, each (60, 2)."""
    from faces.morphable.builtin_surface import surface

    curve = catmull_rom(np.array(BROW), 60, closed=False)
    flat = []
    for sign in (1.0, -1.0):
        xy = np.stack([curve[:, 0], curve[:, 1] + sign * curve[:, 2]], 1)
        chart = unroll(np.column_stack([xy, np.full(60, 20.0)]))
        for _ in range(12):
            chart = chart + (xy - surface(chart)[:, :2])
        flat.append(chart)
    return flat[0], flat[1]

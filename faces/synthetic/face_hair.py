"""Hair of the face, which belongs to identity: brows, lashes, beards. Strands in the head frame. Ours."""

from functools import lru_cache

import numpy as np

from faces.morphable.builtin_layout import catmull_rom
from faces.render.rasterize import rasterize
from faces.synthetic.anatomy import BROW_LINE, MAP_SIDE, WINDOW_A, WINDOW_B, WINDOW_MM, Anatomy, beard_density
from faces.synthetic.hair import Strands
from faces.synthetic.look import brow_linear
from faces.synthetic.numerics import blend_corners, unit
from faces.synthetic.person import Person
from faces.synthetic.scene import Scene


@lru_cache(maxsize=1)
def _layout_raster(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Triangle (512, 512) and barycentrics (512, 512, 3) of the skin at every texel of the layout's window."""
    m = anatomy.mesh
    chart = np.where(np.isnan(m.chart), 9e9, m.chart)
    texels = np.stack(
        [
            (chart[:, 0] - WINDOW_A) / WINDOW_MM * MAP_SIDE,
            (WINDOW_B - chart[:, 1]) / WINDOW_MM * MAP_SIDE,
            np.full(len(chart), 100.0),
        ],
        1,
    )
    narrow = np.ptp(chart[m.triangles][..., 0], axis=1) < 60.0
    skin = m.is_piece("skin")[m.triangles].all(1) & narrow
    raster = rasterize(texels[None].astype(np.float32), m.triangles[skin], MAP_SIDE, MAP_SIDE, "numba-one-core")
    triangle = raster.triangle[0]
    return np.where(triangle >= 0, np.flatnonzero(skin)[triangle], -1), raster.barycentric[0]


class Surface:
    """A posed or expressive skin that can be asked for points by layout position."""

    def __init__(self, anatomy: Anatomy, vertices_mm: np.ndarray, normals: np.ndarray) -> None:
        """vertices_mm, normals: (V, 3) head frame."""
        self.anatomy, self.vertices, self.normals = anatomy, vertices_mm, normals
        self.triangle, self.weight = _layout_raster(anatomy)

    def at(self, chart: np.ndarray, lift_mm: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Layout (n, 2) -> points (n, 3), normals (n, 3), and (n,) bool whether there is skin."""
        column = np.clip((chart[:, 0] - WINDOW_A) / WINDOW_MM * MAP_SIDE, 0, MAP_SIDE - 1).astype(int)
        row = np.clip((WINDOW_B - chart[:, 1]) / WINDOW_MM * MAP_SIDE, 0, MAP_SIDE - 1).astype(int)
        triangle, weight = self.triangle[row, column], self.weight[row, column]
        corners = self.anatomy.mesh.triangles[triangle]
        normal = unit(blend_corners(self.normals, corners, weight))
        points = blend_corners(self.vertices, corners, weight) + normal * np.asarray(lift_mm).reshape(-1, 1)
        return points, normal, triangle >= 0


def _along(
    surface: Surface, start: np.ndarray, heading: np.ndarray, length: np.ndarray, lift: np.ndarray, steps: int
) -> tuple:
    """Strands that run over the skin:

    layout starts and unit headings (n, 2), lengths (n,), lift at the tip (n,), mm.
    """
    points, normals, good = [], [], np.ones(len(start), bool)
    for k in range(steps):
        t = k / (steps - 1)
        p, normal, there = surface.at(start + heading * (length * t)[:, None], 0.15 + lift * t**1.3)
        points.append(p)
        normals.append(normal)
        good &= there
    return np.stack(points, 1)[good], normals[0][good], good


def brows(surface: Surface, person: Person, scene: Scene) -> Strands:
    """Both brows: short hairs that fan up near the nose and lie flat towards the tail."""
    rng = np.random.Generator(np.random.PCG64(person.texture_seed ^ 0xB40))
    line = catmull_rom(BROW_LINE, 100, closed=False)
    n = int(150 + 190 * min(1.0, person.brow_density + 0.3 * scene.brow_makeup))
    side = np.where(np.arange(2 * n) < n, 1.0, -1.0)
    t = rng.random(2 * n) ** 0.9
    across = np.clip(rng.normal(0, 0.5, 2 * n), -1, 1)
    spot = line[(t * 99).astype(int)]
    tilt = person.brow_tilt * (t - 0.4) * 3.0
    a = spot[:, 0] + rng.normal(0, 0.3, 2 * n)
    b = spot[:, 1] + tilt + across * spot[:, 2] * person.brow_thickness
    angle = np.radians(78 - 74 * np.minimum(1, t * 1.7) - 28 * np.maximum(0, t - 0.6) - 30 * across) + rng.normal(
        0, 0.12, 2 * n
    )
    heading = np.stack([np.cos(angle) * side, np.sin(angle)], 1)
    length = rng.uniform(3.6, 6.6, 2 * n) * (1.0 - 0.35 * t) * (0.55 + 0.45 * person.brow_thickness)
    points, normals, good = _along(surface, np.stack([a * side, b], 1), heading, length, np.full(2 * n, 0.8), 4)
    colour = brow_linear(person) * np.exp(rng.normal(0, 0.2, (good.sum(), 1)))
    width = np.tile(np.array([0.34, 0.38, 0.30, 0.12], np.float32), (len(points), 1))
    alpha = np.full(len(points), 0.34 + 0.34 * person.brow_density)
    return _pack(points, normals, colour, width, alpha)


def lashes(surface: Surface, person: Person, scene: Scene) -> Strands:
    """Upper and lower lashes of both eyes, rooted at the lids' edge and turned away from the eyeball."""
    m = surface.anatomy.mesh
    rng = np.random.Generator(np.random.PCG64(person.texture_seed ^ 0x1A5))
    loop = m.layout.eye_loop
    count = len(loop)
    points, normals, widths = [], [], []
    long = 5.6 + 3.0 * scene.eyeliner - 0.8 * max(0.0, person.masculinity)
    for indices, sign in ((loop, 1.0), (m.mirror[loop], -1.0)):
        ring = surface.vertices[indices]
        middle = ring.mean(0)
        for upper, number, reach in ((True, 46, long), (False, 26, 0.45 * long)):
            t = np.sort(rng.uniform(0.10 if upper else 0.25, 0.97, number))
            where = t * (count / 2) if upper else count - t * (count / 2)
            i = where.astype(int) % count
            w = (where - where.astype(int))[:, None]
            root = ring[i] * (1 - w) + ring[(i + 1) % count] * w
            out = unit(root - middle) * 0.7 + np.array([0.22 * sign, 0.0, 0.0]) * (2 * t[:, None] - 0.8)
            lift = np.array([0.0, 0.15 if upper else -0.25, 0.95])
            first = unit(out * 0.45 + lift + 0.10 * rng.standard_normal((number, 3)))
            bend = np.array([0.0, 1.0 if upper else -0.5, 0.0])
            length = reach * rng.uniform(0.7, 1.05, number)[:, None] * (0.65 + 0.45 * t[:, None])
            steps = np.linspace(0, 1, 4)[None, :, None]
            points.append(root[:, None] + length[:, None] * (first[:, None] * steps + 0.42 * bend * steps**2))
            normals.append(np.tile([0.0, 0.3, 0.95], (number, 1)))
            widths.append(np.tile(np.array([0.42, 0.36, 0.26, 0.1]) * (1.0 if upper else 0.7), (number, 1)))
    colour = np.tile(np.array([[0.010, 0.008, 0.007]]), (sum(len(p) for p in points), 1))
    alpha = np.full(len(colour), 0.6 + 0.35 * scene.eyeliner)
    return _pack(np.concatenate(points), np.concatenate(normals), colour, np.concatenate(widths), alpha)


def beard(surface: Surface, person: Person) -> Strands | None:
    """The person's beard as strands; None without one (stubble is painted by the skin shader)."""
    if person.beard_style in ("none", "stubble"):
        return None
    rng = np.random.Generator(np.random.PCG64(person.texture_seed ^ 0xBEA))
    density = beard_density(person.beard_style)
    tries = 9000
    texel = rng.integers(0, MAP_SIDE, (tries * 3, 2))
    keep = density[texel[:, 1], texel[:, 0]] * person.beard_density > rng.random(tries * 3)
    texel = texel[keep][: int(2600 * (0.5 + 0.5 * person.beard_density))]
    chart = np.stack([texel[:, 0] * WINDOW_MM / MAP_SIDE + WINDOW_A, WINDOW_B - texel[:, 1] * WINDOW_MM / MAP_SIDE], 1)
    n = len(chart)
    moustache = (chart[:, 1] > -66) & (np.abs(chart[:, 0]) < 30)
    sideways = np.where(moustache, np.sign(chart[:, 0]) * 0.75, 0.12 * np.sign(chart[:, 0]))
    heading = unit(np.stack([sideways + 0.25 * rng.standard_normal(n), -0.8 + 0.25 * rng.standard_normal(n)], 1))
    edge = density[texel[:, 1], texel[:, 0]]
    length = person.beard_mm * rng.uniform(0.6, 1.2, n) * (0.45 + 0.55 * edge) * np.where(moustache, 0.8, 1.0)
    lift = length * rng.uniform(0.15, 0.5, n)
    points, normals, good = _along(surface, chart, heading, length, lift, 5)
    natural = brow_linear(person) * 1.15
    grey = (rng.random((good.sum(), 1)) < min(1.0, 1.3 * person.grey)).astype(np.float32)
    colour = (natural * (1 - grey) + 0.36 * grey) * np.exp(rng.normal(0, 0.22, (good.sum(), 1)))
    width = np.tile(np.array([0.7, 0.7, 0.6, 0.45, 0.2], np.float32), (len(points), 1))
    return _pack(points, normals, colour, width, np.full(len(points), 0.9))


def _pack(points: np.ndarray, normals: np.ndarray, colour: np.ndarray, width: np.ndarray, alpha: np.ndarray) -> Strands:
    as32 = [
        np.ascontiguousarray(x, np.float32) for x in (points, normals, colour, np.full(len(points), 0.8), width, alpha)
    ]
    return Strands(*as32)

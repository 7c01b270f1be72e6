"""Hair on the head: a style's strands on one skull. Growth and combing are ours; see strands.py for the physics."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faces.synthetic import strands
from faces.synthetic.anatomy import SKULL_CENTRE, Anatomy
from faces.synthetic.hair_styles import STYLES, Style, fineness, taper
from faces.synthetic.noise import tangles
from faces.synthetic.numerics import blend_corners, shift, smoothstep, unit
from faces.synthetic.scene import Scene

_ROWS, _COLUMNS = 25, 48


@dataclass(frozen=True)
class Strands:
    """n strands of P points, head frame, mm.

    Attributes:
        points: (n, P, 3) float32.  normals: (n, 3) float32 of the skin at the root.  colour: (n, 3) linear RGB.
        layer: (n,) 0 inner .. 1 outer.  width_mm: (n, P).  alpha: (n,).
    """

    points: np.ndarray
    normals: np.ndarray
    colour: np.ndarray
    layer: np.ndarray
    width_mm: np.ndarray
    alpha: np.ndarray

    def pick(self, rows: np.ndarray | slice) -> "Strands":
        """The strands of a boolean mask, of indices or of a slice."""
        parts = (self.points, self.normals, self.colour, self.layer, self.width_mm, self.alpha)
        return Strands(*(part[rows] for part in parts))


@lru_cache(maxsize=1)
def _radial_weights(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (K,) and weights (rows * columns, K) that turn radii of vertices into the radial map."""
    m = anatomy.mesh
    usable = np.flatnonzero(m.is_piece("skin") & (m.points[:, 1] > -175))
    chosen = np.random.Generator(np.random.PCG64(5)).permutation(usable)[:1800]
    directions = unit(m.points[chosen] - SKULL_CENTRE)
    height = np.linspace(-1.0, 1.0, _ROWS)
    turn = ((np.arange(_COLUMNS) + 0.5) / _COLUMNS - 0.5) * 4
    x = np.where(np.abs(turn) < 1, turn, np.sign(turn) * 2 - turn)
    ring = unit(np.stack([x, np.zeros(_COLUMNS), (1 - np.abs(x)) * np.where(np.abs(turn) < 1, 1, -1)], 1))
    flat = np.sqrt(1 - height**2)[:, None, None]
    grid = (ring * flat + np.array([0.0, 1.0, 0.0]) * height[:, None, None]).reshape(-1, 3)
    weight = np.exp((grid @ directions.T - 1) / 0.006)
    weight += 1e-7 * np.exp((grid @ directions.T - 1) / 0.12)
    return chosen, (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def radial_map(anatomy: Anatomy, vertices_mm: np.ndarray) -> np.ndarray:
    """(V, 3) head frame -> (25, 48) float32: radius of the head round the skull's centre, mm.

    Rows are even in the sine of the elevation, columns in x / (|x| + |z|) from the back over the right and the front.
    """
    chosen, weights = _radial_weights(anatomy)
    radius = np.linalg.norm(vertices_mm[chosen] - SKULL_CENTRE, axis=1)
    return np.ascontiguousarray((weights @ radius.astype(np.float32)).reshape(_ROWS, _COLUMNS))


@lru_cache(maxsize=4)
def _hairline_shares(anatomy: Anatomy, roots: bool) -> tuple[np.ndarray, np.ndarray]:
    """How far the front and the temples reach at the hair's roots (R,), or at the vertices (V,): 0..1 each."""
    points = anatomy.mesh.points.astype(np.float32)
    if roots:
        corners = anatomy.mesh.triangles[anatomy.roots_triangle]
        points = (anatomy.mesh.points[corners] * anatomy.roots_weight[..., None]).sum(1)
    front = smoothstep(-55.0, 0.0, points[..., 2])
    return front, np.exp(-(((np.abs(points[..., 0]) - 34.0) / 16.0) ** 2))


def recede_mm(hairline: float, anatomy: Anatomy, roots: bool) -> np.ndarray:
    """How far the hairline has moved back at the roots (R,) or the vertices (V,), mm; temples recede more."""
    front, temple = _hairline_shares(anatomy, roots)
    return front * (7.0 * hairline + 9.0 * max(hairline, 0.0) * temple).astype(np.float32)


def _comb(style: Style, scene: Scene, direction: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(n, 3) combed direction, tangent to the skull, from the roots' directions round the skull's centre."""
    x, y, z = direction.T
    if style.comb == "crown":
        field = direction - np.array([0.05 * scene.parting, 0.78, -0.62])
    elif style.comb == "part":
        away = np.tanh((x - 0.42 * scene.parting) / 0.10)
        field = np.stack([away, -0.15 - 0.6 * (y < 0.35), -0.30 - 0.3 * (z > 0.5)], 1)
        if style.guard == 0:
            field = np.stack([away, np.full_like(x, -0.1), np.where(z > 0.3, 0.35, -0.4)], 1)
    elif style.comb == "fringe":
        away = np.tanh((x - 0.1 * scene.parting) / 0.10)
        sides = np.stack([away, np.full_like(x, -0.55), -0.25 - 0.3 * (z > 0.5)], 1)
        ahead = np.stack([0.25 * x + 0.3 * scene.parting, np.full_like(x, -0.5), np.ones_like(x)], 1)
        field = np.where(_is_fringe(direction)[:, None], ahead, sides)
    elif style.bun:
        field = _bun_centre(scene) - direction * 95.0 - SKULL_CENTRE
    elif style.comb == "back":
        field = np.stack([0.35 * x, 0.35 - 0.5 * (z < -0.2), np.full_like(x, -1.0)], 1)
    else:
        return normals
    if not style.bun:
        low = smoothstep(0.30, -0.10, y)[:, None] * smoothstep(0.75, 0.35, z)[:, None]
        field = unit(field) * (1 - low) + np.array([0.0, -1.0, -0.1]) * low
    field = field - (field * normals).sum(1, keepdims=True) * normals
    return unit(field)


def _is_fringe(direction: np.ndarray) -> np.ndarray:
    """(n, 3) root directions -> (n,) bool: hair that is cut as a fringe."""
    return (np.abs(direction[:, 0]) < 0.46) & (direction[:, 2] > 0.22)


def _lengths(
    style: Style, scene: Scene, direction: np.ndarray, scalp_mm: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    x, y, z = direction.T
    side = smoothstep(0.55, 0.80, np.abs(x)) * smoothstep(0.75, 0.35, y)
    back = smoothstep(-0.25, -0.75, z) * smoothstep(0.6, 0.1, y)
    front = smoothstep(30.0, 5.0, scalp_mm) * smoothstep(0.25, 0.6, z) * (1 - side)
    if style.comb == "fringe":
        front = _is_fringe(direction) * 1.0
        front *= 1.0 + 0.55 * smoothstep(0.75, 0.3, z)
        return _trimmed(style, scene, front, side, back, rng)
    length = style.top * (1 - front) + style.front * front
    length = length * (1 - side) + style.side * side
    length = length * (1 - back) + style.back * back
    edge = smoothstep(-2.0, 34.0, scalp_mm) * (1 - front) + front
    length *= 1 - style.taper * (1 - edge) * np.maximum(side, back)
    blunt = style.guard == 1.0 and style.curl < 3
    return (length * scene.hair_length * rng.uniform(0.90 if blunt else 0.72, 1.05, len(x))).astype(np.float32)


def _trimmed(
    style: Style, scene: Scene, front: np.ndarray, side: np.ndarray, back: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Lengths of a cut with a fringe: the fringe does not grow with the rest."""
    rest = style.top * (1 - np.maximum(side, back)) + np.where(side > back, style.side * side, style.back * back)
    rest = rest * scene.hair_length
    length = np.where(front > 0, style.front * front, rest)
    return (length * rng.uniform(0.85, 1.05, len(front))).astype(np.float32)


def scalp_hair(
    anatomy: Anatomy, vertices_mm: np.ndarray, normals: np.ndarray, scene: Scene, down: np.ndarray, detail: float = 1.0
) -> Strands | None:
    """The scene's hair on a head: vertices (V, 3) and normals (V, 3) in the head frame; down (3,): gravity there.

    detail: 0..1, share of the strands; when there are fewer, they are wider.
    """
    if scene.hair_style not in STYLES:
        return None
    style = STYLES[scene.hair_style]
    rng = np.random.Generator(np.random.PCG64(scene.seed ^ 0x4A12))
    scalp_mm = anatomy.roots_scalp_mm - recede_mm(scene.hairline, anatomy, roots=True)
    chosen = np.flatnonzero(scalp_mm + rng.normal(0, 1.2, len(scalp_mm)) > 0.0)[: int(style.strands * detail)]
    corners, weight = anatomy.mesh.triangles[anatomy.roots_triangle[chosen]], anatomy.roots_weight[chosen]
    roots = blend_corners(vertices_mm, corners, weight) - SKULL_CENTRE
    normal = unit(blend_corners(normals, corners, weight))
    clump, edge = _clumps(anatomy.roots_chart[chosen], rng)
    n = len(chosen)
    direction = unit(roots)
    comb = _comb(style, scene, direction, normal) + 0.16 * _clumped(rng, clump, 3) + 0.05 * rng.standard_normal((n, 3))
    comb = unit(comb.astype(np.float32))
    flat = 1.0 - 0.6 * smoothstep(0.45, 0.75, np.abs(direction[:, :1])) * (style.comb != "up")
    flat *= 1.0 - 0.8 * smoothstep(0.25, -0.15, direction[:, 1:2]) * (style.comb != "up")
    lift = style.lift * (0.75 + 0.25 * scene.hair_volume) * flat
    start = unit(comb * (1 - lift) + normal * lift + 0.10 * rng.standard_normal((n, 3)))
    length = _lengths(style, scene, direction, scalp_mm[chosen], rng)
    length *= np.exp(0.08 * _clumped(rng, clump, 1)[:, 0])
    layer = rng.random(n) ** 0.8 * (1.0 - 0.4 * edge)
    offset = 1.0 + style.layer * scene.hair_volume * 1.2 * layer * smoothstep(-1.0, 12.0, scalp_mm[chosen])
    points = strands.grow(
        roots.astype(np.float32), start.astype(np.float32), comb, length.astype(np.float32), offset.astype(np.float32),
        radial_map(anatomy, vertices_mm), down.astype(np.float32), style.weight, style.hold, style.guard, style.cling,
        style.steps,
    )  # fmt: skip
    locks = (style.clump * np.linspace(0, 1, style.steps) ** 0.8).astype(np.float32)
    strands.gather(points, clump, locks, 1024)
    _curl(points, style, scene, clump, rng)
    shift(points.reshape(-1, 3), SKULL_CENTRE)
    colour = _colours(scene, clump, rng)
    width = style.width / np.sqrt(detail) * rng.uniform(0.75, 1.25, (n, 1)) * taper(style.steps)
    fine, alpha = fineness(style, layer, direction, scalp_mm[chosen])
    width *= 1.0 - 0.6 * fine[:, None]
    made = Strands(
        points,
        normal.astype(np.float32),
        colour,
        layer.astype(np.float32),
        width.astype(np.float32),
        alpha.astype(np.float32),
    )
    made = made.pick(np.argsort(-layer, kind="stable"))
    return _with_bun(made, scene, rng) if style.bun else made


def loose_lock(
    hair: Strands | None, anatomy: Anatomy, vertices_mm: np.ndarray, scene: Scene, down: np.ndarray
) -> Strands | None:
    """A lock that has come loose and hangs over one side of the face; None unless the scene's occluder is one."""
    if hair is None or scene.occluder != "strand" or STYLES[scene.hair_style].top < 30:
        return None
    rng = np.random.Generator(np.random.PCG64(scene.seed ^ 0x10C))
    n, steps = 110, 18
    skin = np.flatnonzero(anatomy.mesh.is_piece("skin") & (np.abs(anatomy.scalp_mm - 5.0) < 6.0))
    rest = anatomy.mesh.points[skin]
    spot = skin[np.argmin(np.abs(rest[:, 0] - scene.occluder_side * 26.0) + 200.0 * (rest[:, 2] < -30))]
    root = vertices_mm[spot] - SKULL_CENTRE + rng.normal(0, 5.0, (n, 3))
    start = unit(np.array([scene.occluder_side * 0.35, 0.25, 0.9]) + 0.12 * rng.standard_normal((n, 3)))
    comb = unit(np.array([scene.occluder_side * 0.3, -0.6, 0.5]) + 0.06 * rng.standard_normal((n, 3)))
    length = rng.uniform(90, 150, n)
    points = strands.grow(
        root.astype(np.float32), start.astype(np.float32), comb.astype(np.float32), length.astype(np.float32),
        rng.uniform(1.5, 5.0, n).astype(np.float32), radial_map(anatomy, vertices_mm), down.astype(np.float32),
        0.6, 50.0, 0.0, 0.4, steps,
    )  # fmt: skip
    strands.gather(points, np.zeros(n, np.int64), np.linspace(0, 0.5, steps).astype(np.float32), 1)
    shift(points.reshape(-1, 3), SKULL_CENTRE)
    picked = rng.integers(0, len(hair.colour), n)
    width = np.repeat(0.8 * taper(steps)[None], n, 0).astype(np.float32)
    return Strands(
        points, np.tile(np.array([0, 0.3, 0.95], np.float32), (n, 1)), hair.colour[picked], np.full(n, 0.9, np.float32),
        width, np.ones(n, np.float32),
    )  # fmt: skip


def _clumps(chart: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of each root (n,): its clump, cells of about 9 mm of the layout with jittered edges; 0 middle .. 1 edge of it."""
    place = (chart + rng.normal(0, 1.5, chart.shape)) / 9.0
    cells = np.floor(place).astype(np.int64)
    edge = np.minimum(1.0, 2.0 * np.hypot(*(place - cells - 0.5).T))
    return (cells[:, 0] * 73856093 ^ cells[:, 1] * 19349663) & 1023, edge


def _clumped(rng: np.random.Generator, clump: np.ndarray, width: int) -> np.ndarray:
    """(n, width) normal noise that is shared inside each clump."""
    return rng.standard_normal((1024, width))[clump].astype(np.float32)


def _curl(points: np.ndarray, style: Style, scene: Scene, clump: np.ndarray, rng: np.random.Generator) -> None:
    n, steps, _ = points.shape
    more = 0.65 + 0.7 * scene.hair_curl
    amplitude = style.curl * more * np.exp(0.25 * rng.standard_normal(n) + 0.2 * _clumped(rng, clump, 1)[:, 0])
    wavelength = style.wave * np.exp(0.03 * rng.standard_normal(n) + 0.1 * _clumped(rng, clump, 1)[:, 0])
    phase = 3.0 * _clumped(rng, clump, 2) + 0.45 * rng.standard_normal((n, 2))
    jitter = tangles()[rng.integers(0, 2048, n), :steps]
    strands.curl(
        points,
        amplitude.astype(np.float32),
        wavelength.astype(np.float32),
        phase.astype(np.float32),
        jitter,
        style.frizz,
    )


def _colours(scene: Scene, clump: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(clump)
    shade = np.exp(0.15 * _clumped(rng, clump, 1) + 0.10 * rng.standard_normal((n, 1)))
    colour = np.array(scene.hair_linear) * shade
    share = scene.hair_grey + 0.2 * scene.hair_grey * (1 - scene.hair_grey) * 4 * _clumped(rng, clump, 1)
    grey = np.clip(share + 0.28 * (rng.random((n, 1)) - 0.5), 0, 1) * (scene.hair_grey > 0.02)
    silver = (
        (0.30 + 0.25 * scene.hair_grey) * np.exp(0.12 * rng.standard_normal((n, 1))) * np.array([1.0, 0.985, 0.955])
    )
    return (colour * (1 - grey) + silver * grey).astype(np.float32)


def _bun_centre(scene: Scene) -> np.ndarray:
    """Middle of the knot, head frame, mm: on the crown or low at the back."""
    return np.array([0.0, 112.0, -122.0]) if scene.parting > 0 else np.array([0.0, 40.0, -186.0])


def _with_bun(hair: Strands, scene: Scene, rng: np.random.Generator) -> Strands:
    """Add a knot: strands wound round a ball at the crown."""
    n, steps = 700, hair.points.shape[1]
    radius = 24.0 * (0.8 + 0.25 * scene.hair_volume)
    centre = _bun_centre(scene)
    axis = unit(rng.standard_normal((n, 3)) * 0.35 + np.array([0.0, 0.6, -0.8]))
    first = unit(np.cross(axis, rng.standard_normal((n, 3))))
    second = np.cross(axis, first)
    turn = np.linspace(0, 2.2, steps)[None, :, None]
    height = rng.uniform(-0.9, 0.9, (n, 1, 1))
    ring = first[:, None] * np.cos(turn) + second[:, None] * np.sin(turn)
    ball = (ring * np.sqrt(1 - height**2) + axis[:, None] * height) * radius * rng.uniform(0.85, 1.05, (n, 1, 1))
    colour = hair.colour[rng.integers(0, len(hair.colour), n)]
    return Strands(
        np.concatenate([hair.points, (centre + ball).astype(np.float32)]),
        np.concatenate([hair.normals, unit(ball.mean(1)).astype(np.float32)]),
        np.concatenate([hair.colour, colour]),
        np.concatenate([hair.layer, rng.uniform(0.5, 1, n).astype(np.float32)]),
        np.concatenate([hair.width_mm, np.full((n, steps), 1.3, np.float32)]),
        np.concatenate([hair.alpha, np.ones(n, np.float32)]),
    )

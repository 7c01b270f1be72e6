"""One picture of one person in one scene, with exact truth. The renderer's stages in order. Ours.

Pose -> hair grown and combed -> shadow map of the key lamp -> mesh shaded at 2 x 2 samples a pixel before the backdrop
-> shade of lids and lips -> strands, glasses and occluders drawn over it with a depth test -> film.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from faces.camera import Camera
from faces.compiled import one_blas_thread
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.render.rasterize import rasterize
from faces.synthetic import face_hair, film, ribbons, shading, strand_drawing
from faces.synthetic.accessories import things_of
from faces.synthetic.anatomy import Anatomy, anatomy
from faces.synthetic.background import draw_background
from faces.synthetic.contact import shade_contacts
from faces.synthetic.garments import Garment, garment_of, worn_mm
from faces.synthetic.hair import Strands, loose_lock, recede_mm, scalp_hair
from faces.synthetic.hair_styles import STYLES
from faces.synthetic.lighting import Rig, ShadowView, rig_of, shadow_view
from faces.synthetic.look import parameters
from faces.synthetic.mesh_shading import KeyShadow, shade_mesh
from faces.synthetic.numerics import smoothstep
from faces.synthetic.outfit import cloth_numbers
from faces.synthetic.person import Person
from faces.synthetic.posing import Posed, pose, to_pixels
from faces.synthetic.scene import Scene
from faces.synthetic.strand_drawing import StrandLight
from faces.synthetic.truth import albedo_coefficients, coefficients_of, skin_of, vertex_albedo
from faces.synthetic.wisps import split, tufts

SAMPLES = 2
#: Narrower pictures are refused, px: below 2 px the backdrop lends no light, and of a face nothing is left (ours).
LEAST_PX = 32
#: Wider ones are refused, px: they would not fit into the memory of most machines (ours).
MOST_PX = 4096
READINGS = ("face", "full")
SHADOW_SIDE = 192


@dataclass(frozen=True)
class Portrait:
    """A picture and its truth. S px square.

    Attributes:
        image: (S, S, 3) uint8 sRGB.
        landmarks_px: (68, 2) float32, our pixels (faces/camera.py).
        coefficients: (D,) float32 in the head's layout; light is the unshadowed rig in second order.
        camera: Camera.centred(S).
        mask: (S, S) uint8 coverage of the visible face: face region without hair, glasses' frames and occluders.
        hair, occluder: (S, S) uint8 coverage of scalp hair, and of glasses, dark lenses, hands and locks before the
            face. In a true swap all three are the target's where `changed` is 0.
        skin: (3,) float32 linear RGB of the plain skin.
        changed: (S, S) uint8, 255 where a swap may differ from the target's picture; zeros for a plain picture.
    """

    image: np.ndarray
    landmarks_px: np.ndarray
    coefficients: np.ndarray
    camera: Camera
    mask: np.ndarray
    hair: np.ndarray
    occluder: np.ndarray
    skin: np.ndarray
    changed: np.ndarray


@dataclass
class _Canvas:
    """Samples on their way: colour (H, W, 3) float32, depth (H, W), ids (H, W), triangle (H, W); albedo (A,) truth."""

    colour: np.ndarray
    depth: np.ndarray
    ids: np.ndarray
    triangle: np.ndarray
    albedo: np.ndarray

    @classmethod
    def of(cls, backdrop: np.ndarray, exposure: float) -> "_Canvas":
        """An empty canvas before a backdrop (S, S, 3), so that thin hair lets it through."""
        side = len(backdrop) * SAMPLES
        wall = cv2.resize((backdrop * exposure).astype(np.float32), (side, side), interpolation=cv2.INTER_NEAREST)
        empty = np.zeros(wall.shape[:2], np.uint8)
        return cls(wall, empty, empty.copy(), empty, empty)


def check_size(size_px: int) -> None:
    """Raise a SamaeError for pictures narrower than LEAST_PX or wider than MOST_PX."""
    if size_px < LEAST_PX:
        raise SamaeError(f"pictures of people are at least {LEAST_PX} px wide, not {size_px}: raise the size")
    if size_px > MOST_PX:
        raise SamaeError(f"pictures of people are at most {MOST_PX} px wide, not {size_px}: lower the size")


def render_person(
    person: Person, scene: Scene, size_px: int, wearer: Person | None = None, reading: str = "face"
) -> Portrait:
    """Render `person`'s picture; with `wearer`, the true swap that puts the wearer's face into it (see pictures.py)."""
    plain, swaps = render_swaps(person, wearer or person, scene, size_px, (reading,) if wearer else ())
    return swaps[reading] if wearer else plain


def render_swaps(
    owner: Person, wearer: Person, scene: Scene, size_px: int, readings: tuple[str, ...] = READINGS
) -> tuple[Portrait, dict[str, Portrait]]:
    """The owner's own picture, and the true swap with the wearer's face in each reading, from one call.

    A wearer who is the owner gives the plain picture in every reading. Raises SamaeError for an unknown reading, and
    for pictures narrower than LEAST_PX.
    """
    check_size(size_px)
    for reading in readings:
        if reading not in READINGS:
            raise SamaeError(f"a true swap has no reading {reading!r}; choose one of {', '.join(READINGS)}")
    head = load_head("builtin")
    with one_blas_thread():
        plain = _render(head, owner, owner, scene, size_px, "face")
        own = _finish(head, owner, owner, scene, plain, plain, "face")
        if wearer == owner:
            return own, dict.fromkeys(readings, own)
        swapped = {reading: _render(head, owner, wearer, scene, size_px, reading) for reading in readings}
        return own, {
            reading: _finish(head, owner, wearer, scene, shown, plain, reading) for reading, shown in swapped.items()
        }


@dataclass(frozen=True)
class _Rendered:
    posed: Posed
    rig: Rig
    light: np.ndarray
    mask: np.ndarray
    hair: np.ndarray
    occluder: np.ndarray
    skin_area: np.ndarray
    albedo: np.ndarray


def _render(head: MorphableHead, owner: Person, wearer: Person, scene: Scene, size_px: int, reading: str) -> _Rendered:
    body = anatomy(head)
    posed = pose(head, body, owner, wearer, scene, size_px)
    backdrop = draw_background(scene.background, scene.background_seed, size_px)
    rig = rig_of(scene, backdrop[:: max(1, size_px // 64), :: max(1, size_px // 64)])
    normals = body.normals(posed.world_mm, 5)
    rest_normals = normals @ posed.turn.astype(np.float32)
    hair = scalp_hair(body, posed.owner_mm, posed.owner_normals, scene, -posed.turn[1], _detail(size_px))
    things, garment = things_of(posed, scene, body), garment_of(body, scene.clothes)
    cloth_mm, cloth_normals = worn_mm(garment, posed, scene)
    solid_mm, solid_normals = np.concatenate([posed.world_mm, cloth_mm]), np.concatenate([normals, cloth_normals])
    view, shadow = _shadow_map(body, garment, posed, solid_mm, hair, rig)
    things.cast(posed, view, shadow)
    canvas = _Canvas.of(backdrop, scene.exposure)
    canvas = _draw_mesh(
        canvas, head, body, garment, posed, solid_mm, solid_normals, rig, view, shadow, owner, wearer, scene, reading
    )
    shade_contacts(canvas.colour, canvas.ids, SAMPLES * size_px / 256, rig.ambient[0] + rig.lamps[0, 3:6])
    surface = face_hair.Surface(body, posed.head_mm, rest_normals)
    light = StrandLight(rig, _view_vector(view), shadow, 0.5)
    brows, lashes = face_hair.brows(surface, wearer, scene), face_hair.lashes(surface, wearer, scene)
    _draw_face_hair(canvas, posed, light, brows, face_hair.beard(surface, wearer), lashes)
    lock = loose_lock(hair, body, posed.owner_mm, scene, -posed.turn[1])
    _draw_head_hair(canvas, posed, replace(light, gloss=0.5 + scene.hair_gloss), scene, hair, lock)
    things.draw(canvas.colour, canvas.depth, canvas.ids, posed, rig, view, shadow, owner.skin_linear)
    return _collect(canvas, posed, rig, head, garment, size_px)


def _detail(size_px: int) -> float:
    """Share of the strands that a picture of this size needs."""
    return float(np.clip(0.25 + 0.75 * size_px / 768, 0.38, 1.0))


def _view_vector(view: ShadowView) -> np.ndarray:
    return np.concatenate([view.axes.ravel(), [view.scale], view.offset]).astype(np.float64)


def _shadow_map(
    body: Anatomy, garment: Garment, posed: Posed, solid_mm: np.ndarray, hair: Strands | None, rig: Rig
) -> tuple[ShadowView, np.ndarray]:
    """Depth (side, side) float32 from the key lamp of head, collar and hair, inf where nothing is."""
    points = posed.to_world(posed.owner_mm[body.body_weight < 0.5])
    view = shadow_view(rig.lamps[0, :3], points, SHADOW_SIDE)
    seen = view.project(solid_mm)
    depth = rasterize(seen[None], garment.triangles, SHADOW_SIDE, SHADOW_SIDE, "numba-one-core").depth_mm[0]
    if hair is not None:
        ribbons.draw_strand_depth(depth, view.project(posed.to_world(hair.points[::2])), float(np.float32(1.3)))
    return view, depth


def _draw_mesh(
    canvas: _Canvas, head: MorphableHead, body: Anatomy, garment: Garment, posed: Posed, solid_mm: np.ndarray,
    normals: np.ndarray, rig: Rig, view: ShadowView, shadow: np.ndarray, owner: Person, wearer: Person, scene: Scene,
    reading: str,
) -> _Canvas:  # fmt: skip
    """Shade the head and what is worn round the neck. solid_mm, normals: (V + G, 3) of both, world frame."""
    side = len(canvas.ids)
    raster = rasterize(
        to_pixels(solid_mm, posed.camera.resized(side))[None], garment.triangles, side, side, "numba-one-core"
    )
    table = np.concatenate([_resting_table(body), garment.rows])
    table[:, 0:3], table[: len(body.uv), 6:9] = normals, vertex_albedo(head, owner, wearer, reading)
    table[: len(body.uv), 12] = body.scalp_mm - recede_mm(scene.hairline, body, roots=False)
    style = STYLES.get(scene.hair_style)
    if style is not None and not style.stubble:  # hair longer than stubble shades the skin at its roots
        table[: len(body.uv), 5] *= 1 - 0.35 * smoothstep(-9.0, 3.0, table[: len(body.uv), 12])
    numbers = parameters(wearer, scene, _gaze_axes(posed))
    canvas.depth, canvas.triangle = raster.depth_mm[0], raster.triangle[0]
    canvas.albedo = albedo_coefficients(head, table, body, numbers)
    shade_mesh(
        raster, body, garment, table, numbers, cloth_numbers(scene), np.array(wearer.moles).reshape(-1, 3), rig,
        KeyShadow(_view_vector(view), shadow, 1.0 + 2.4 * float(rig.lamps[0, 6])), posed.camera.focal_px * SAMPLES,
        canvas.colour, canvas.ids,
    )  # fmt: skip
    return canvas


@lru_cache(maxsize=1)
def _resting_table(body: Anatomy) -> np.ndarray:
    """The vertex table (V, COLUMNS) of shading.py with what no picture changes: uv, occlusion, place at rest."""
    rest = body.mesh.points.astype(np.float32)
    table = np.zeros((len(rest), shading.COLUMNS), np.float32)
    table[:, 3:5], table[:, 5], table[:, 9:12] = body.uv, body.occlusion, rest
    for eye in (0, 1):
        ball = body.eye_of == eye
        table[ball, 9:12] -= (rest[ball].max(0) + rest[ball].min(0)) / 2
    return table


def _gaze_axes(posed: Posed) -> np.ndarray:
    """(2, 3) world direction of both eyes."""
    from faces.camera import rotation_matrices

    turn = rotation_matrices(np.array([[posed.gaze_rad[1], posed.gaze_rad[0], 0.0]]))[0]
    return np.repeat((posed.turn @ turn @ [0.0, 0.0, 1.0])[None], 2, 0)


def _draw_face_hair(
    canvas: _Canvas, posed: Posed, light: StrandLight, brows: Strands, beard: Strands | None, lashes: Strands
) -> None:
    samples, identity = (canvas.colour, canvas.depth, canvas.ids), shading.ID_FACE_HAIR
    strand_drawing.draw(*samples, brows, posed, light, identity, 1.2)
    if beard is not None:
        strand_drawing.draw_veiled(*samples, beard, None, posed, light, identity, 1.0)
    strand_drawing.draw(*samples, lashes, posed, light, identity, 2.5)


def _draw_head_hair(
    canvas: _Canvas, posed: Posed, light: StrandLight, scene: Scene, hair: Strands | None, lock: Strands | None
) -> None:
    samples = canvas.colour, canvas.depth, canvas.ids
    if hair is not None:
        mass, fine = split(hair, hair.normals @ posed.turn[2].astype(np.float32))
        strand_drawing.draw_veiled(*samples, mass, tufts(fine, scene), posed, light, shading.ID_HAIR, 0.5)
    if lock is not None:
        strand_drawing.draw_veiled(*samples, lock, None, posed, light, shading.ID_OCCLUDER, 0.5)


def _collect(canvas: _Canvas, posed: Posed, rig: Rig, head: MorphableHead, garment: Garment, size_px: int) -> _Rendered:
    light, faces = film.reduce(canvas.colour, size_px), np.zeros(len(garment.triangles), bool)
    faces[: len(head.face_triangles)] = head.face_triangles
    face, hair, occluder, skin = film.coverage(canvas.ids, canvas.triangle, faces, SAMPLES)
    return _Rendered(posed, rig, light, face, hair, occluder, skin, canvas.albedo)


def _finish(
    head: MorphableHead, owner: Person, wearer: Person, scene: Scene, shown: _Rendered, plain: _Rendered, reading: str
) -> Portrait:
    changed = np.zeros(shown.mask.shape, np.uint8)
    if shown is not plain:
        shown, changed = _keep_outside(shown, plain, scene, reading)
    return Portrait(
        image=film.develop(shown.light, scene),
        landmarks_px=shown.posed.landmarks_px,
        coefficients=coefficients_of(head, wearer, shown.posed, shown.rig, shown.albedo),
        camera=shown.posed.camera,
        mask=_bytes(shown.mask),
        hair=_bytes(shown.hair),
        occluder=_bytes(shown.occluder),
        skin=skin_of(owner, wearer, reading),
        changed=changed,
    )


def _bytes(share: np.ndarray) -> np.ndarray:
    return (np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def _keep_outside(shown: _Rendered, plain: _Rendered, scene: Scene, reading: str) -> tuple[_Rendered, np.ndarray]:
    """Outside both faces (both skins in the reading "full"), the target's own light and masks; what may differ.

    Masks follow the light: where the pictures mix, so do their coverages.
    """
    size_px = len(shown.light)
    area = shown.mask + plain.mask if reading == "face" else shown.skin_area + plain.skin_area
    reach = max(3, size_px // 24) | 1
    region = cv2.dilate((area > 0).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), max(1.0, size_px / 128))[..., None]
    soft = np.where(soft > 0.003, soft, 0.0)
    kept = replace(
        shown,
        light=plain.light + soft * (shown.light - plain.light),
        mask=plain.mask + soft[..., 0] * (shown.mask - plain.mask),
        hair=plain.hair + soft[..., 0] * (shown.hair - plain.hair),
        occluder=plain.occluder + soft[..., 0] * (shown.occluder - plain.occluder),
    )
    changed = (soft[..., 0] > 0).astype(np.uint8)
    spread = int(np.ceil(4 * scene.blur_px * size_px / 256)) * 2 + 1
    changed = cv2.dilate(changed, np.ones((spread, spread), np.uint8))
    if scene.jpeg_quality:
        changed = np.kron(_blocks(changed, 8), np.ones((8, 8), np.uint8))[:size_px, :size_px]
    return kept, changed * 255


def _blocks(changed: np.ndarray, side: int) -> np.ndarray:
    """(S, S) 0 or 1 -> 1 for every side x side block (JPEG's unit without subsampling) that holds a 1."""
    pad = -len(changed) % side
    padded = np.pad(changed, ((0, pad), (0, pad)))
    count = len(padded) // side
    return padded.reshape(count, side, count, side).max((1, 3))

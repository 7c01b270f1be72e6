"""From person and scene to posed geometry in FFHQ's framing. Ours."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faces.camera import Camera, head_to_camera, project, rotation_matrices
from faces.compiled import kernel
from faces.landmarks import ffhq_transform
from faces.morphable.base import MorphableHead
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.look import NECKLINES
from faces.synthetic.numerics import shift, smoothstep
from faces.synthetic.person import Person
from faces.synthetic.scene import Scene
from faces.synthetic.shading import neckline

NECK_PIVOT = np.array([0.0, -118.0, -78.0])
#: How far the shoulders stand above those of the head's mesh, mm.
SHRUG_MM = 35.0


@dataclass(frozen=True)
class Posed:
    """Geometry of one picture. V vertices.

    Attributes:
        owner_mm, head_mm: (V, 3) float32, head frame: of the picture's owner, and of what is shown (differs in a swap).
        owner_normals: (V, 3) float32 unit normals of owner_mm.
        rotation_rad, translation_mm: (3,) pose.  gaze_rad: (2,) in the head frame.  expression: (E,).
        turn: (3, 3) the head's rotation; head frame -> world frame without translation.
        world_mm: (V, 3) float32 camera-centred world frame (x right, y up, z to the viewer), shoulders and clothes in
            place.
        landmarks_px: (68, 2) of what is shown.  camera: of the picture.
    """

    owner_mm: np.ndarray
    owner_normals: np.ndarray
    head_mm: np.ndarray
    rotation_rad: np.ndarray
    translation_mm: np.ndarray
    gaze_rad: np.ndarray
    expression: np.ndarray
    turn: np.ndarray
    world_mm: np.ndarray
    landmarks_px: np.ndarray
    camera: Camera

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Head frame (..., 3) -> world frame, rigid with the head, float32."""
        moved = points.reshape(-1, 3) @ self.turn.T.astype(np.float32)
        shift(moved, (self.translation_mm * np.array([1.0, -1.0, -1.0])).astype(np.float32))
        return moved.reshape(points.shape)


def to_pixels(world_mm: np.ndarray, camera: Camera) -> np.ndarray:
    """World frame (..., 3) -> (u_px, v_px, depth_mm) float32."""
    if world_mm.dtype != np.float32:
        return project(world_mm * np.array([1.0, -1.0, -1.0]), camera).astype(np.float32)
    flat = np.ascontiguousarray(world_mm).reshape(-1, 3)
    centre = np.array([camera.centre_x_px, camera.centre_y_px, camera.focal_px], np.float32)
    return _seen(flat, centre).reshape(world_mm.shape)


@kernel
def _seen(world_mm: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """faces.camera.project of (n, 3) float32 world points, to the bit; camera (3,): centre and focal length, px."""
    out = np.empty_like(world_mm)
    for i in range(np.uint64(world_mm.shape[0])):
        depth = -world_mm[i, 2]
        scale = camera[2] / depth
        out[i, 0] = world_mm[i, 0] * scale + camera[0]
        out[i, 1] = -world_mm[i, 1] * scale + camera[1]
        out[i, 2] = depth
    return out


def expression_vector(head: MorphableHead, scene: Scene) -> np.ndarray:
    """(E,) float32 activations of the scene's expression; names that the head lacks are left out."""
    vector = np.zeros(len(head.expression_names), np.float32)
    place = {name: i for i, name in enumerate(head.expression_names)}
    for name, value in scene.expression:
        if name in place:
            vector[place[name]] = value
    return vector


def frame(landmarks_mm: np.ndarray, pitch: float, yaw: float, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Roll and translation for which the picture is FFHQ's crop of these landmarks (68, 3), head frame.

    Returns rotation_rad (3,), translation_mm (3,). Fixed point of: project, ask FFHQ's transform, correct; ours.
    """
    rotation, translation = np.array([pitch, yaw, 0.0]), np.array([0.0, 10.0, 1150.0])
    for _ in range(12):
        seen = project(
            head_to_camera(landmarks_mm[None].astype(np.float64), rotation[None], translation[None]), camera
        )[0]
        matrix = ffhq_transform(seen[:, :2], camera.size_px)
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        rotation[2] -= float(np.arctan2(matrix[1, 0], matrix[0, 0]))
        centre = camera.size_px / 2
        x = (translation[:2] / translation[2]) * camera.focal_px + centre
        x = matrix[:, :2] @ x + matrix[:, 2]
        translation[2] /= scale
        translation[:2] = (x - centre) * translation[2] / camera.focal_px
        if abs(scale - 1) < 1e-6 and np.abs(matrix[:, :2] @ x + matrix[:, 2] - x).max() < 1e-3:
            break
    return rotation, translation


def pose(head: MorphableHead, anatomy: Anatomy, owner: Person, wearer: Person, scene: Scene, size_px: int) -> Posed:
    """Decode, frame and place everything. `wearer` gives the face, `owner` the rest and the framing."""
    camera = Camera.centred(size_px)
    expression = expression_vector(head, scene)
    gaze = np.clip([scene.gaze_yaw_rad - scene.yaw_rad, scene.gaze_pitch_rad - scene.pitch_rad], -0.55, 0.55)
    count = len(head.identity_mm)
    shapes = np.array([person.shape[:count] for person in (owner, wearer)], np.float32)
    if owner is wearer:
        shapes = shapes[:1]
    decoded = head.vertices(shapes, np.repeat(expression[None], len(shapes), 0), np.repeat(gaze[None], len(shapes), 0))
    mine, shown = decoded[0], decoded[-1]
    if owner is not wearer:
        shown = mine + anatomy.face_weight[:, None] * (shown - mine)
    rotation, translation = frame(mine[head.landmarks], scene.pitch_rad, scene.yaw_rad, camera)
    turn = rotation_matrices(rotation[None])[0]
    offset = translation * np.array([1.0, -1.0, -1.0])
    normals = anatomy.normals(mine)
    world = _with_body(anatomy, shown, normals, turn, scene) + offset
    landmarks = to_pixels(shown[head.landmarks] @ turn.T + offset, camera)[:, :2]
    return Posed(
        mine, normals, shown.astype(np.float32), rotation, translation, gaze, expression, turn,
        world.astype(np.float32), landmarks.astype(np.float32), camera,
    )  # fmt: skip


def _with_body(anatomy: Anatomy, shown: np.ndarray, normals: np.ndarray, turn: np.ndarray, scene: Scene) -> np.ndarray:
    """Head vertices turned; neck and shoulders bent towards the body's own pose;

    clothes thickened. World, no offset.
    """
    raised = shown.astype(np.float64)
    below, weight = _below(anatomy)
    raised[below] = shown[below] + weight * np.array([0.0, SHRUG_MM, 0.0], np.float32)
    clothed, thickness = _cloth_mm(anatomy, scene.clothes)
    raised[clothed] += normals[clothed] * thickness
    placed = raised @ turn.T
    placed[below] = bent(raised[below], weight, turn, scene)
    return placed


def bent(points: np.ndarray, weight: np.ndarray, turn: np.ndarray, scene: Scene) -> np.ndarray:
    """Points (n, 3) of the head frame turned with the head (weight (n, 1) 0) or with the body (1). World, no offset."""
    body = rotation_matrices(np.array([[0.0, scene.shoulder_yaw_rad, 0.0]]))[0]
    pivot = turn @ NECK_PIVOT
    return points @ turn.T * (1 - weight) + weight * ((points - NECK_PIVOT) @ body.T + pivot)


@lru_cache(maxsize=1)
def _below(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n,) that move with the body, and by how much (n, 1)."""
    below = np.flatnonzero(anatomy.body_weight)
    return below, anatomy.body_weight[below, None]


@lru_cache(maxsize=len(NECKLINES))
def _cloth_mm(anatomy: Anatomy, clothes: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n,) under clothes of one kind, and how far these stand off the skin, mm (n, 1)."""
    height, depth, thickness, pointed = NECKLINES[clothes]
    rest = anatomy.mesh.points
    cloth_top = np.array([neckline(float(x), float(z), depth, height, 1.0 - pointed) for x, _, z in rest])
    cloth = smoothstep(-1.0, -4.0, rest[:, 1] - cloth_top) * anatomy.mesh.is_piece("skin") * (rest[:, 1] < -95)
    clothed = np.flatnonzero(cloth)
    return clothed, (cloth * thickness)[clothed, None]

"""Basel Face Model 2009 in Deep3DFaceRecon_pytorch's layout (BFM_model_front.mat), and its coefficients to the letter.

The head itself speaks this project's conventions (faces/camera.py): millimetres, linear RGB, the origin midway between
the eyes (mean of the twelve eye landmarks, moved back by an eyeball's radius: BFM has no eyeballs). Deep3D's own
conventions are kept beside them, so that its published coefficients can be used: `deep3d_parts`, `deep3d_albedo`,
`deep3d_normals`, `deep3d_shading`, `deep3d_landmarks` follow its code (version 9167c71), and `import_deep3d` turns its
257 numbers into ours. Exact there: identity, expression, albedo, rotation, translation (Deep3D's camera of 1015 px at
distance 10 dm, centre 112 of 224 px, is Camera.centred). Ours: the light, because Deep3D multiplies display RGB and we
multiply linear RGB (`light_from_deep3d`).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from faces.camera import AXIS_SIGNS, rotation_matrices
from faces.errors import SamaeError
from faces.files import sha256_bytes
from faces.morphable.base import MorphableHead
from faces.morphable.flame import cylinder_uv
from faces.morphable.tables import check_indices, check_numbers, length_of
from faces.render.shading import sh_basis, to_linear

EDITION = "bfm2009-front-1"
AGAIN = "copy the file again"
LICENCE = "non-commercial research, no redistribution (Basel Face Model 2009)"
#: The 257 numbers in order.
DEEP3D_SLICES = {
    "identity": slice(0, 80), "expression": slice(80, 144), "texture": slice(144, 224), "angles": slice(224, 227),
    "gamma": slice(227, 254), "translation": slice(254, 257),
}  # fmt: skip
#: Deep3D's camera: focal length and centre in px of a 224 px picture, distance in decimetres; its constant light.
FOCAL_PX, CENTRE_PX, PICTURE_PX, DISTANCE_DM, DC = 1015.0, 112.0, 224, 10.0, 0.8
EYEBALL_MM = 12.0
#: Arrays of the file: axes by name (V3 = 3 V).
SHAPES = {
    "meanshape": ("1", "V3"), "meantex": ("1", "V3"), "idBase": ("V3", "80"), "exBase": ("V3", "64"),
    "texBase": ("V3", "80"), "tri": ("T", "3"), "point_buf": ("V", "8"), "keypoints": ("1", "68"),
    "frontmask2_idx": ("F", "1"), "tri_mask2": ("G", "3"), "skinmask": ("1", "V"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class BfmHead(MorphableHead):
    """BFM with what Deep3D's formulas need beside the common tables.

    Attributes:
        texture: (81, V, 3) float32: mean and 80 modes in display RGB 0..1; `albedo_modes` are their derivatives.
        neighbours: (V, 8) int32 triangles at each vertex, T where there are fewer.
        skin: (V,) bool, Deep3D's skin mask (reflectance loss).
        origin_mm: (3,) this head's origin in Deep3D's frame (origin at the mean shape's centroid).
    """

    texture: np.ndarray | None = None
    neighbours: np.ndarray | None = None
    skin: np.ndarray | None = None
    origin_mm: np.ndarray | None = None

    def albedo(self, coefficients: Any) -> Any:
        """(N, A) -> (N, V, 3) float32 linear RGB: Deep3D's texture, made linear exactly; torch in, torch out."""
        if isinstance(coefficients, torch.Tensor):
            assert self.texture is not None
            tables = torch.from_numpy(self.texture[: 1 + coefficients.shape[1]]).to(coefficients.device)
            return to_linear(tables[0] + torch.tensordot(coefficients, tables[1:], 1))
        return to_linear(deep3d_albedo(self, coefficients)).astype(np.float32)

    def part(self, kept: np.ndarray, drawn: np.ndarray) -> Self:
        """See MorphableHead.part; Deep3D's normals cannot be computed on a part."""
        assert self.texture is not None
        texture = np.ascontiguousarray(self.texture[:, kept])
        return replace(super().part(kept, drawn), texture=texture, neighbours=None, skin=None)


def read_bfm(path: Path) -> MorphableHead:
    """Read BFM_model_front.mat. Raises SamaeError by name."""
    data = _read(path)
    _check(data, path)
    n_vertices = data["meanshape"].size // 3
    mean_dm = data["meanshape"].reshape(-1, 3)
    mean_mm = (mean_dm - mean_dm.mean(0)) * 100.0
    landmarks = data["keypoints"].reshape(-1).astype(np.int32) - 1
    origin = mean_mm[landmarks[36:48]].mean(0) - [0.0, 0.0, EYEBALL_MM]
    texture = np.concatenate([data["meantex"], data["texBase"].T]).reshape(81, n_vertices, 3) / 255.0
    mean_colour = np.clip(texture[0], 0.0, 1.0)
    slope = (to_linear(mean_colour + 1e-4) - to_linear(mean_colour - 1e-4)) / 2e-4
    region = np.zeros(n_vertices, bool)
    region[data["frontmask2_idx"].reshape(-1).astype(np.int64) - 1] = True
    triangles = data["tri"].astype(np.int32) - 1
    return BfmHead(
        edition=EDITION,
        digest=sha256_bytes(b"".join(np.ascontiguousarray(data[name]).tobytes() for name in SHAPES))[:16],
        licence=LICENCE,
        mean_mm=(mean_mm - origin).astype(np.float32),
        identity_mm=(data["idBase"].T.reshape(80, n_vertices, 3) * 100.0).astype(np.float32),
        expression_mm=(data["exBase"].T.reshape(64, n_vertices, 3) * 100.0).astype(np.float32),
        expression_names=tuple(f"expression{i:02d}" for i in range(64)),
        expression_sigma=np.ones(64),
        expression_limits=np.tile([-4.0, 4.0], (64, 1)),
        albedo_mean=to_linear(mean_colour).astype(np.float32),
        albedo_modes=(texture[1:] * slope).astype(np.float32),
        triangles=triangles,
        uv=cylinder_uv(mean_mm),
        parts=np.zeros(len(triangles), np.int8),
        part_names=("skin",),
        landmarks=landmarks,
        eye_left=np.zeros(0, np.int64),
        eye_right=np.zeros(0, np.int64),
        face_region=region,
        texture=texture.astype(np.float32),
        neighbours=data["point_buf"].astype(np.int32) - 1,
        skin=data["skinmask"].reshape(-1) > 0.5,
        origin_mm=origin,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    if not path.is_file():
        raise SamaeError(f"{path} does not exist; BFM_model_front.mat is made by Deep3DFaceRecon_pytorch from BFM 2009")
    try:
        found = loadmat(str(path), variable_names=[*SHAPES, "shapePC"])
    except Exception as error:
        # scipy's reader meets damage with whatever its parser runs into (also zlib's and struct's errors).
        raise SamaeError(f"{path} cannot be read as a MATLAB file ({type(error).__name__}); copy it again") from None
    if "shapePC" in found:
        raise SamaeError(
            f"{path} is the Basel Face Model itself (53,490 vertices); run Deep3DFaceRecon_pytorch once, which makes "
            "BFM_model_front.mat of it, and give that file"
        )
    missing = [name for name in SHAPES if name not in found]
    if missing:
        raise SamaeError(f"{path} lacks the arrays {', '.join(missing)}; it is not BFM_model_front.mat")
    return {name: np.asarray(found[name]) for name in SHAPES}


def _check(data: dict[str, np.ndarray], path: Path) -> None:
    vertices, triangles = data["skinmask"].size, length_of(path, "tri", data["tri"], 2, AGAIN)
    sizes = {"V": vertices, "V3": 3 * vertices, "T": triangles}
    for name, axes in SHAPES.items():
        found = data[name]
        if found.ndim != 2:
            raise SamaeError(f"{path}: {name} is no table of numbers; {AGAIN}")
        due = tuple(sizes.get(a, int(a) if a.isdigit() else n) for a, n in zip(axes, found.shape, strict=True))
        check_numbers(path, name, found, due, AGAIN)
    limits = {
        "tri": vertices, "keypoints": vertices, "frontmask2_idx": vertices, "tri_mask2": vertices,
        "point_buf": triangles + 1,
    }  # fmt: skip
    for name, limit in limits.items():
        check_indices(path, name, data[name], 1, limit, AGAIN, "iuf")


def deep3d_parts(coefficients: np.ndarray) -> dict[str, np.ndarray]:
    """Deep3D's (N, 257) -> its named parts (DEEP3D_SLICES)."""
    coefficients = np.atleast_2d(np.asarray(coefficients, np.float32))
    if coefficients.shape[1] != 257:
        raise SamaeError(f"Deep3D's coefficients are 257 a face, but these are {coefficients.shape[1]}")
    return {name: coefficients[:, where] for name, where in DEEP3D_SLICES.items()}


def deep3d_albedo(head: MorphableHead, texture: np.ndarray) -> np.ndarray:
    """(N, A <= 80) texture coefficients -> (N, V, 3) display RGB 0..1 (Deep3D divides by 255; clipped by us)."""
    tables = _bfm(head).texture
    assert tables is not None
    texture = np.atleast_2d(np.asarray(texture, np.float32))
    return np.clip(tables[0] + np.tensordot(texture, tables[1 : 1 + texture.shape[1]], 1), 0.0, 1.0)


def deep3d_normals(head: MorphableHead, vertices: np.ndarray) -> np.ndarray:
    """(N, V, 3) -> (N, V, 3) unit normals, Deep3D's: unit face normals, summed over up to 8 faces, made unit again."""
    neighbours = _bfm(head).neighbours
    if neighbours is None:
        raise SamaeError("Deep3D's normals need the whole BFM head, not a part of it")
    a, b, c = (vertices[:, head.triangles[:, k]] for k in range(3))
    face = np.cross(a - b, b - c)
    face /= np.maximum(np.linalg.norm(face, axis=-1, keepdims=True), 1e-12)
    face = np.concatenate([face, np.zeros_like(face[:, :1])], 1)
    normals = face[:, neighbours].sum(2)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def deep3d_basis(normals: np.ndarray) -> np.ndarray:
    """(..., 3) unit normals, turned by R alone -> (..., 9): Deep3D's constants, order and signs."""
    a = (np.pi, 2 * np.pi / np.sqrt(3.0), 2 * np.pi / np.sqrt(8.0))
    c = (1 / np.sqrt(4 * np.pi), np.sqrt(3.0) / np.sqrt(4 * np.pi), 3 * np.sqrt(5.0) / np.sqrt(12 * np.pi))
    zero, one, two = a[0] * c[0], a[1] * c[1], a[2] * c[2]
    x, y, z = (normals[..., k] for k in range(3))
    terms = (
        zero * np.ones_like(x), -one * y, one * z, -one * x, two * x * y, -two * y * z,
        0.5 * two / np.sqrt(3.0) * (3 * z**2 - 1), -two * x * z, 0.5 * two * (x**2 - y**2),
    )  # fmt: skip
    return np.stack(terms, -1)


def deep3d_shading(albedo: np.ndarray, normals: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Deep3D's colour, to the letter: albedo (N, P, 3) display RGB, normals (N, P, 3), gamma (N, 27) -> (N, P, 3).

    0.8 is added to the constant term of each channel; nothing is linearised or clipped.
    """
    light = np.asarray(gamma, np.float64).reshape(-1, 3, 9).copy()
    light[:, :, 0] += DC
    return albedo * np.einsum("npk,nck->npc", deep3d_basis(normals), light)


def deep3d_landmarks(points_px: np.ndarray) -> np.ndarray:
    """Our pixels of a 224 px picture (..., 2) -> what Deep3D saves as lm68: row 223 - y, y = focal * Y / z + 112."""
    return np.asarray(points_px, np.float64) - [0.0, 1.0]


def light_from_deep3d(gamma: np.ndarray, albedo_display: np.ndarray) -> np.ndarray:
    """Deep3D's light -> ours, (N, 27), (N, 3) mean display RGB of the skin -> (N, 27) float32 (ours).

    Deep3D: display = a * s(n). Ours: linear = linear(a) * l(n). l is the second-order series that comes nearest, by
    least squares over normals that face the camera, to linear(a s(n)) / linear(a): exact for a constant light,
    approximate where the light is strongly directed, and exact for no other albedo than `a` (the transfer curve bends).
    """
    index = np.arange(2000) + 0.5
    height, turn = 1 - index / 1000, np.pi * (1 + 5**0.5) * index
    normals = np.stack([np.cos(turn) * np.sqrt(1 - height**2), np.sin(turn) * np.sqrt(1 - height**2), height], -1)
    normals = normals[normals[:, 2] > 0]
    solve = np.linalg.pinv(sh_basis(normals))
    albedo = np.clip(np.asarray(albedo_display, np.float64), 0.02, 1.0)[:, None]
    shown = deep3d_shading(albedo, np.broadcast_to(normals, (len(albedo), *normals.shape)), gamma)
    ratio = to_linear(shown) / to_linear(albedo)
    return np.einsum("kp,npc->nck", solve, ratio).reshape(-1, 27).astype(np.float32)


def import_deep3d(head: MorphableHead, coefficients: np.ndarray) -> np.ndarray:
    """Deep3D's (N, 257) of its 224 px crop -> (N, D) in this head's layout under Camera.centred."""
    bfm, parts = _bfm(head), deep3d_parts(coefficients)
    assert bfm.origin_mm is not None
    turned = rotation_matrices(parts["angles"]) @ bfm.origin_mm
    shift = (turned + 100.0 * parts["translation"]) * AXIS_SIGNS + [0.0, 0.0, 100.0 * DISTANCE_DM]
    face = bfm.face_region if bfm.skin is None else bfm.skin
    albedo = deep3d_albedo(head, parts["texture"])[:, face].mean(1)
    return head.layout.pack(
        identity=parts["identity"],
        expression=parts["expression"],
        albedo=parts["texture"],
        rotation_rad=parts["angles"],
        translation_mm=shift,
        light=light_from_deep3d(parts["gamma"], albedo),
    )


def _bfm(head: MorphableHead) -> BfmHead:
    if not isinstance(head, BfmHead):
        raise SamaeError(f"Deep3D's formulas belong to the head 'bfm', but this one is {head.edition}")
    return head

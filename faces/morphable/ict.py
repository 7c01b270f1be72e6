"""ICT-FaceKit Light (MIT) from its own folder or one .npz, as a MorphableHead in this project's frame.

Arrays of the file: neutral (26719, 3) float32 centimetres; identity (100, V, 3), expression (57, V, 3) float16 offsets;
expression_names; faces (F, 4) int32 quads, -1 in the last place marks a triangle; uv (W, 2), uv_faces (F, 4);
material (F,) int8; material_names (12,); landmarks68 (68,) int32.
"""

from pathlib import Path

import numpy as np

from faces.errors import SamaeError
from faces.files import sha256_bytes
from faces.morphable.base import MorphableHead
from faces.morphable.tables import check_indices, check_numbers, length_of, read_npz

EDITION = "ict-facekit-light-1"
AGAIN = "copy the file again"
NEEDED = (
    "neutral",
    "identity",
    "expression",
    "expression_names",
    "faces",
    "uv",
    "uv_faces",
    "material",
    "material_names",
    "landmarks68",
)
#: materials that are drawn (lashes, fluid and blend shells are transparent shells of the original).
PARTS = {
    "M_Face": "skin", "M_BackHead": "scalp", "M_GumsTongue": "mouth", "M_Teeth": "teeth", "M_ScleraLeft": "eye_left",
    "M_IrisLeft": "eye_left", "M_ScleraRight": "eye_right", "M_IrisRight": "eye_right",
}  # fmt: skip
COLOURS = {
    "skin": (0.44, 0.262, 0.186),
    "scalp": (0.44, 0.262, 0.186),
    "mouth": (0.3, 0.1, 0.09),
    "teeth": (0.66, 0.6, 0.5),
    "eye_left": (0.62, 0.58, 0.55),
    "eye_right": (0.62, 0.58, 0.55),
}


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.is_dir():
        from faces.morphable.ict_folder import read_folder

        return read_folder(path)
    if not path.is_file():
        raise SamaeError(
            f"{path} does not exist; give the path of ICT-FaceKit Light's model.npz, or use the head 'builtin'"
        )
    return read_npz(path, NEEDED, "an ICT-FaceKit Light npz", AGAIN)


def _check(data: dict[str, np.ndarray], path: Path) -> None:
    axes = {"neutral": 2, "identity": 3, "uv": 2, "material": 1, "expression_names": 1, "material_names": 1}
    vertices, modes, uv, faces, expressions, materials = (
        length_of(path, name, data[name], count, AGAIN) for name, count in axes.items()
    )
    shapes = {
        "neutral": (vertices, 3),
        "identity": (modes, vertices, 3),
        "expression": (expressions, vertices, 3),
        "uv": (uv, 2),
        "faces": (faces, 4),
        "uv_faces": (faces, 4),
        "landmarks68": (68,),
    }
    for name, shape in shapes.items():
        check_numbers(path, name, data[name], shape, AGAIN)
    for name, table, low, high in (
        ("faces", data["faces"], -1, vertices - 1),
        ("faces", data["faces"][:, :3], 0, vertices - 1),
        ("uv_faces", data["uv_faces"], -1, uv - 1),
        ("landmarks68", data["landmarks68"], 0, vertices - 1),
        ("material", data["material"], 0, materials - 1),
    ):
        check_indices(path, name, table, low, high, AGAIN)


def _triangles(data: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(T, 3) triangles of the drawn materials, (T,) part of each, part names."""
    names = tuple(dict.fromkeys(PARTS.values()))
    known = [PARTS.get(str(name)) for name in data["material_names"]]
    part = np.array([names.index(p) if p else -1 for p in known])[data["material"]]
    quads, part = data["faces"][part >= 0], part[part >= 0]
    second = quads[:, 3] >= 0
    triangles = np.concatenate([quads[:, :3], quads[second][:, [0, 2, 3]]])
    return triangles.astype(np.int32), np.concatenate([part, part[second]]).astype(np.int8), names


def _vertex_uv(data: dict[str, np.ndarray]) -> np.ndarray:
    """(V, 2): the first texture coordinate of each vertex."""
    uv = np.zeros((len(data["neutral"]), 2), np.float32)
    corner, coordinate = data["faces"].ravel(), data["uv_faces"].ravel()
    good = (corner >= 0) & (coordinate >= 0)
    uv[corner[good][::-1]] = data["uv"][coordinate[good][::-1]]
    return uv


def read_ict(path: Path) -> MorphableHead:
    """Read the npz, or the folder FaceXModel (slower). Raises SamaeError by name.

    Millimetres, origin midway between the eyeballs, no albedo modes.
    """
    data = _read(path)
    _check(data, path)
    triangles, parts, names = _triangles(data)
    points = data["neutral"].astype(np.float64) * 10.0
    eyes = [np.unique(triangles[parts == names.index(name)]) for name in ("eye_left", "eye_right")]
    if not all(len(eye) for eye in eyes):
        raise SamaeError(
            f"{path} has no eyeballs (materials M_ScleraLeft, M_IrisLeft, ...); it is not an ICT-FaceKit Light npz"
        )
    origin = np.mean([(points[eye].max(0) + points[eye].min(0)) / 2 for eye in eyes], axis=0)
    colour = np.tile(np.array(COLOURS["skin"], np.float32), (len(points), 1))
    for index, name in enumerate(names):
        colour[triangles[parts == index]] = COLOURS[name]
    skin = np.zeros(len(points), bool)
    skin[triangles[parts == names.index("skin")]] = True
    return MorphableHead(
        edition=EDITION,
        digest=sha256_bytes(b"".join(np.ascontiguousarray(data[name]).tobytes() for name in NEEDED))[:16],
        licence="MIT (ICT-FaceKit)",
        mean_mm=(points - origin).astype(np.float32),
        identity_mm=data["identity"].astype(np.float32) * 10,
        expression_mm=data["expression"].astype(np.float32) * 10,
        expression_names=tuple(str(name) for name in data["expression_names"]),
        albedo_mean=colour,
        albedo_modes=np.zeros((0, len(points), 3), np.float32),
        triangles=triangles,
        uv=_vertex_uv(data),
        parts=parts,
        part_names=names,
        landmarks=data["landmarks68"].astype(np.int32),
        eye_left=eyes[0].astype(np.int64),
        eye_right=eyes[1].astype(np.int64),
        face_region=skin,
    )

"""ICT-FaceKit's own folder FaceXModel (OBJ files and vertex_indices.json) as the arrays of the npz.

`python -m faces.morphable.ict_folder FaceXModel model.npz` writes the npz once, which loads in a second; the folder
itself, some 390 MB of text, is parsed anew each time. Offsets are differences from generic_neutral_mesh.obj, so that
identity NNN has weight 1 at its file's shape (one standard deviation) and an expression weight 1 at its own.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from faces.errors import SamaeError
from faces.files import atomic_file, read_json

NEUTRAL = "generic_neutral_mesh.obj"


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of faces/morphable/ict.py. Raises SamaeError by name."""
    indices = read_json(folder / "vertex_indices.json")
    landmarks = indices.get("idx_to_landmark_verts", []) if isinstance(indices, dict) else []
    if not (isinstance(landmarks, list) and all(isinstance(index, int) for index in landmarks)):
        raise SamaeError(
            f"{folder / 'vertex_indices.json'}: idx_to_landmark_verts is no list of vertices; copy it again"
        )
    neutral = read_positions(folder / NEUTRAL)
    identities = sorted(folder.glob("identity[0-9][0-9][0-9].obj"))
    known = {NEUTRAL, *(path.name for path in identities)}
    expressions = sorted(path for path in folder.glob("*.obj") if path.name not in known)
    if not identities or not expressions:
        raise SamaeError(f"{folder} holds no identityNNN.obj or no expressions; it is not ICT-FaceKit's FaceXModel")
    return {
        "neutral": neutral,
        "identity": np.stack([offsets(path, neutral) for path in identities]),
        "expression": np.stack([offsets(path, neutral) for path in expressions]),
        "expression_names": np.array([path.stem for path in expressions]),
        "landmarks68": np.array(landmarks, np.int32),
        **read_surface(folder / NEUTRAL),
    }


def offsets(path: Path, neutral: np.ndarray) -> np.ndarray:
    """(V, 3) float16 differences of a shape from the neutral one."""
    points = read_positions(path)
    if points.shape != neutral.shape:
        raise SamaeError(f"{path} has {len(points)} vertices where {len(neutral)} are due; copy it again")
    return (points - neutral).astype(np.float16)


def _lines(path: Path) -> list[bytes]:
    if not path.is_file():
        raise SamaeError(f"{path} does not exist; give ICT-FaceKit's folder FaceXModel, or the head 'builtin'")
    return path.read_bytes().splitlines()


def read_positions(path: Path) -> np.ndarray:
    """(V, 3) float32: the `v` lines of an OBJ file."""
    rows = [line[2:].split() for line in _lines(path) if line.startswith(b"v ")]
    return _numbers(rows, path, 3)


def _numbers(rows: list[list[bytes]], path: Path, width: int) -> np.ndarray:
    try:
        table = np.array(rows, dtype=np.float32).reshape(len(rows), -1)[:, :width]
    except ValueError:
        raise SamaeError(f"{path} holds a line that is no row of {width} numbers; copy it again") from None
    if not len(table) or table.shape[1] != width:
        raise SamaeError(f"{path} holds no rows of {width} numbers; it is not an OBJ file of ICT-FaceKit")
    return table


def read_surface(path: Path) -> dict[str, np.ndarray]:
    """faces, uv, uv_faces (-1 marks a triangle), material and material_names of an OBJ file."""
    corners: list[list[int]] = []
    texture: list[list[int]] = []
    material: list[int] = []
    uv: list[list[bytes]] = []
    names: list[str] = []
    for line in _lines(path):
        if line.startswith(b"vt "):
            uv.append(line[3:].split())
        elif line.startswith(b"usemtl "):
            name = line[7:].strip().decode("utf-8", "replace")
            if name not in names:
                names.append(name)
            now = names.index(name)
        elif line.startswith(b"f "):
            if not names:
                raise SamaeError(f"{path} has a face before its first usemtl; it is not an OBJ file of ICT-FaceKit")
            one, two = _face(line, path)
            corners.append(one)
            texture.append(two)
            material.append(now)
    if not corners:
        raise SamaeError(f"{path} holds no faces; it is not an OBJ file of ICT-FaceKit")
    return {
        "faces": np.array(corners, np.int32), "uv": _numbers(uv, path, 2), "uv_faces": np.array(texture, np.int32),
        "material": np.array(material, np.int8), "material_names": np.array(names),
    }  # fmt: skip


def _face(line: bytes, path: Path) -> tuple[list[int], list[int]]:
    """`f v/vt/vn ...` of three or four corners -> vertices and texture coordinates from 0, -1 for a missing fourth."""
    try:
        pairs = [[int(part) - 1 for part in corner.split(b"/")[:2]] for corner in line[2:].split()]
        one, two = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    except (ValueError, IndexError):
        one, two = [], []
    if len(one) not in (3, 4):
        raise SamaeError(f"{path}: {line[:40]!r} is no triangle or quad with texture coordinates; copy it again")
    return one + [-1] * (4 - len(one)), two + [-1] * (4 - len(two))


def main(arguments: list[str] | None = None) -> int:
    """The command; exit code 2 and one sentence when a file is refused."""
    from faces.morphable.ict import read_ict

    parser = argparse.ArgumentParser(
        prog="python -m faces.morphable.ict_folder", description="FaceXModel -> npz, once."
    )
    parser.add_argument("folder", type=Path, help="ICT-FaceKit's folder FaceXModel")
    parser.add_argument("out", type=Path, help="npz to write")
    given = parser.parse_args(arguments)
    try:
        arrays = read_folder(given.folder)
        with atomic_file(given.out) as scratch, scratch.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
        head = read_ict(given.out)
    except SamaeError as error:
        print(f"ict: {error}", file=sys.stderr)
        return 2
    print(f"{given.out}: {head.edition} ({head.digest}), {len(head.mean_mm)} vertices; {head.licence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

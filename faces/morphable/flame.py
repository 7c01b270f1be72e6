"""FLAME 2020 and 2023 as a MorphableHead: converted once to npz, posed by linear blend skinning of our own.

`python -m faces.morphable.flame generic_model.pkl landmark_embedding.npy flame2020.npz --edition 2020` reads the
published pickle without unpickling it (faces/morphable/inert_pickle.py) and writes the arrays.

Model (Li et al. 2017, section 3): T(b, e, q) = template + B b + E e + P (R(q) - I); joints J = regressor (template +
B b + E e); each vertex is moved by the weighted mean of its joints' transforms. Metres become millimetres, the origin
is put midway between the eyeballs; FLAME's axes are ours. Of the five joints the root stays still (rotation_rad and
translation_mm turn the head), the eyeballs follow gaze_rad, and jaw and neck are the last six numbers of the
expression group: rotation vectors in radians. `decode` is exact; `expression_mm` holds their derivatives at rest, which
is what the landmark solve uses, so that a wide open jaw is fitted a little less well than it could be.
The 68 landmarks lie inside triangles: they are appended to the mesh as vertices that no triangle uses.
FLAME's texture space is not read: one skin colour, no albedo modes.
"""

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from faces.camera import rotation_matrices_torch
from faces.errors import SamaeError
from faces.files import atomic_file, sha256_bytes
from faces.morphable.base import MorphableHead
from faces.morphable.inert_pickle import inert_pickle
from faces.morphable.tables import NUMBERS, as_array, check_indices, check_numbers, length_of, read_npz

EDITIONS = {
    "2020": "non-commercial research (FLAME 2020)",
    "2023": "non-commercial research (FLAME 2023)",
    "2023-open": "CC BY 4.0 (FLAME 2023 Open)",
}
JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
#: Columns of shapedirs: 300 of identity, then expression (section 2.1 of the published files).
N_IDENTITY = 300
#: Prior standard deviation and limits of the six pose numbers (ours): jaw, neck; radians about x, y, z.
POSE_SIGMA = (0.15, 0.04, 0.04, 0.01, 0.01, 0.01)
POSE_LIMITS = ((-0.05, 0.6), (-0.2, 0.2), (-0.2, 0.2), (-0.7, 0.7), (-0.7, 0.7), (-0.7, 0.7))
SKIN = (0.44, 0.262, 0.186)
EYE = (0.62, 0.58, 0.55)
#: Name in the npz: name in the pickle, number of axes.
ARRAYS = {
    "template": ("v_template", 2), "triangles": ("f", 2), "shape": ("shapedirs", 3), "pose": ("posedirs", 3),
    "regressor": ("J_regressor", 2), "weights": ("weights", 2), "tree": ("kintree_table", 2),
}  # fmt: skip
EMBEDDING = ("landmark_triangles", "landmark_weights")


@dataclass(frozen=True, eq=False)
class FlameHead(MorphableHead):
    """A FLAME head. `skin` holds the tables of the skinning (see `_tables`); `picked` the vertices that are kept."""

    skin: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    picked: np.ndarray | None = None

    def vertices(self, identity: np.ndarray, expression: np.ndarray, gaze_rad: np.ndarray | None = None) -> np.ndarray:
        """See MorphableHead.vertices; exact skinning, the eyeballs turn about their joints."""
        shape, moved = (torch.from_numpy(np.atleast_2d(np.asarray(a, np.float32))) for a in (identity, expression))
        gaze = None if gaze_rad is None else torch.from_numpy(np.atleast_2d(np.asarray(gaze_rad, np.float32)))
        return self._posed(shape, moved, gaze).numpy()

    def vertices_torch(
        self, identity: torch.Tensor, expression: torch.Tensor, gaze_rad: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See MorphableHead.vertices_torch; exact skinning, the eyeballs turn about their joints."""
        return self._posed(identity, expression, gaze_rad)

    def part(self, kept: np.ndarray, drawn: np.ndarray) -> Self:
        """See MorphableHead.part."""
        whole = np.arange(len(kept)) if self.picked is None else self.picked
        return replace(super().part(kept, drawn), picked=whole[kept])

    def _posed(self, identity: torch.Tensor, expression: torch.Tensor, gaze: torch.Tensor | None) -> torch.Tensor:
        skin = {name: table.to(identity.device) for name, table in self.skin.items()}
        vertices = skinned(skin, identity, expression[:, :-6], joint_turns(expression[:, -6:], gaze))
        triangles, weights = skin["landmark_triangles"], skin["landmark_weights"]
        points = (vertices[:, triangles.long()] * weights[None, :, :, None]).sum(2)
        whole = torch.cat([vertices, points], 1)
        return whole if self.picked is None else whole[:, torch.from_numpy(self.picked).to(whole.device)]


def rotations_of(vectors: torch.Tensor) -> torch.Tensor:
    """(..., 3) rotation vectors in radians -> (..., 3, 3) by Rodrigues' formula; differentiable, also at zero."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape[:-1], 3, 3)
    square = (vectors**2).sum(-1)[..., None, None]
    angle = torch.sqrt(square + 1e-16)
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return eye + torch.sin(angle) / angle * cross + (1 - torch.cos(angle)) / angle**2 * (cross @ cross)


def joint_turns(pose_rad: torch.Tensor, gaze_rad: torch.Tensor | None) -> torch.Tensor:
    """(N, 6) jaw and neck rotation vectors, (N, 2) gaze (yaw, pitch) or None -> (N, 5, 3, 3) in JOINTS' order."""
    still = torch.eye(3, dtype=pose_rad.dtype, device=pose_rad.device).expand(len(pose_rad), 3, 3)
    eyes = still
    if gaze_rad is not None:
        angles = torch.stack([gaze_rad[:, 1], gaze_rad[:, 0], torch.zeros_like(gaze_rad[:, 0])], -1)
        eyes = rotation_matrices_torch(angles)
    return torch.stack([still, rotations_of(pose_rad[:, 3:]), rotations_of(pose_rad[:, :3]), eyes, eyes], 1)


def skinned(
    skin: dict[str, torch.Tensor], identity: torch.Tensor, expression: torch.Tensor, turns: torch.Tensor
) -> torch.Tensor:
    """Linear blend skinning with pose correctives: (N, K), (N, E), (N, 5, 3, 3) local rotations -> (N, V, 3) mm."""
    count, width = len(identity), identity.shape[1]
    rest = skin["template"] + torch.tensordot(identity, skin["identity"][:width], 1)
    rest = rest + torch.tensordot(expression, skin["expression"], 1)
    joints = torch.einsum("jv,nvx->njx", skin["regressor"], rest)
    away = (turns[:, 1:] - torch.eye(3, dtype=turns.dtype, device=turns.device)).reshape(count, -1)
    rest = rest + torch.tensordot(away, skin["pose"], 1)
    world: list[tuple[torch.Tensor, torch.Tensor]] = []
    for j, parent in enumerate(skin["parents"].tolist()):
        if parent < 0:
            world.append((turns[:, j], joints[:, j]))
        else:
            above, at = world[parent]
            offset = (above @ (joints[:, j] - joints[:, parent])[..., None])[..., 0]
            world.append((above @ turns[:, j], at + offset))
    rotation = torch.stack([r for r, _ in world], 1)
    shift = torch.stack([t - (r @ joints[:, j, :, None])[..., 0] for j, (r, t) in enumerate(world)], 1)
    blended = torch.einsum("vj,njxy->nvxy", skin["weights"], rotation)
    moved = (blended @ rest[..., None])[..., 0]
    return moved + torch.einsum("vj,njx->nvx", skin["weights"], shift)


def read_flame(path: Path) -> MorphableHead:
    """Read the npz that `convert` wrote. Raises SamaeError by name."""
    data = _read(path)
    check_arrays(data, path)
    skin = _tables(data)
    zero_id, zero_ex = torch.zeros(1, len(skin["identity"])), torch.zeros(1, len(skin["expression"]))
    rest = torch.cat([skin["template"], _points(skin["template"], skin)])
    identity, expression = (torch.cat([skin[n], _points(skin[n], skin)], 1) for n in ("identity", "expression"))
    posed = []
    for axis in range(6):
        turns = [joint_turns(step * torch.eye(6)[axis : axis + 1], None) for step in (1e-2, -1e-2)]
        ends = [skinned(skin, zero_id, zero_ex, turn)[0] for turn in turns]
        slope = (ends[0] - ends[1]) / 2e-2
        posed.append(torch.cat([slope, _points(slope, skin)]))
    n_vertices, triangles = len(skin["template"]), data["triangles"].astype(np.int32)
    eyes = [np.flatnonzero(data["weights"][:, j] > 0.5) for j in (3, 4)]
    return FlameHead(
        mean_mm=rest.numpy(),
        identity_mm=identity.numpy(),
        expression_mm=torch.cat([expression, torch.stack(posed)]).numpy(),
        expression_names=(*(f"expression{i:03d}" for i in range(len(zero_ex[0]))), *pose_names()),
        expression_sigma=np.array([1.0] * len(zero_ex[0]) + list(POSE_SIGMA)),
        expression_limits=np.array([(-3.0, 3.0)] * len(zero_ex[0]) + list(POSE_LIMITS)),
        landmarks=np.arange(n_vertices, n_vertices + 68, dtype=np.int32),
        triangles=triangles,
        eye_left=eyes[0], eye_right=eyes[1],
        **_description(data, rest.numpy(), triangles, eyes), skin=skin,
    )  # fmt: skip


def pose_names() -> tuple[str, ...]:
    """Names of the last six numbers of the expression group."""
    return tuple(f"{joint}_{axis}_rad" for joint in ("jaw", "neck") for axis in "xyz")


def _points(values: torch.Tensor, skin: dict[str, torch.Tensor]) -> torch.Tensor:
    """(..., V, 3) -> (..., 68, 3) at the landmarks."""
    corners = values[..., skin["landmark_triangles"].long(), :]
    return (corners * skin["landmark_weights"][:, :, None]).sum(-2)


def _tables(data: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """float32 tables of the skinning in millimetres, the origin midway between the eyeballs."""
    eyes = [data["template"][data["weights"][:, j] > 0.5] for j in (3, 4)]
    origin = np.mean([(e.max(0) + e.min(0)) / 2 for e in eyes], axis=0)
    modes = np.moveaxis(data["shape"], 2, 0) * 1000.0
    tables = {
        "template": (data["template"] - origin) * 1000.0,
        "identity": modes[:N_IDENTITY],
        "expression": modes[N_IDENTITY:],
        "pose": np.moveaxis(data["pose"], 2, 0) * 1000.0,
        "regressor": data["regressor"],
        "weights": data["weights"],
        "landmark_weights": data["landmark_weights"],
    }
    floats = {name: torch.from_numpy(np.array(table, np.float32)) for name, table in tables.items()}
    parents = data["tree"][0].astype(np.int64)
    parents[0] = -1
    corners = data["triangles"][data["landmark_triangles"]].astype(np.int64)
    return floats | {"parents": torch.from_numpy(parents), "landmark_triangles": torch.from_numpy(corners)}


def _description(
    data: dict[str, np.ndarray], rest: np.ndarray, triangles: np.ndarray, eyes: list[np.ndarray]
) -> dict[str, Any]:
    """Edition, colours, parts, uv and face region (ours: the front, between the brows' line and the chin's)."""
    edition = str(data["edition"])
    colours = np.tile(np.array(SKIN, np.float32), (len(rest), 1))
    colours[np.concatenate(eyes)] = EYE
    parts = np.zeros(len(triangles), np.int8)
    for part, eye in enumerate(eyes, 1):
        parts[np.isin(triangles, eye).all(1)] = part
    points = rest[-68:]
    low, high = points[8, 1] - 5.0, points[17:27, 1].max() + 0.35 * (points[27, 1] - points[8, 1])
    region = (rest[:, 1] > low) & (rest[:, 1] < high) & (rest[:, 2] > points[[0, 16], 2].mean() - 5.0)
    digest = sha256_bytes(b"".join(np.ascontiguousarray(data[n]).tobytes() for n in (*ARRAYS, *EMBEDDING)))[:16]
    return {
        "edition": f"flame{edition}-1", "digest": digest, "licence": EDITIONS[edition],
        "albedo_mean": colours, "albedo_modes": np.zeros((0, len(rest), 3), np.float32),
        "parts": parts, "part_names": ("skin", "eye_left", "eye_right"), "uv": cylinder_uv(rest), "face_region": region,
    }  # fmt: skip


def cylinder_uv(points_mm: np.ndarray) -> np.ndarray:
    """(V, 3) -> (V, 2) float32 in 0..1: the angle about the vertical axis through the head's middle, and the height."""
    depth = (points_mm[:, 2].max() + points_mm[:, 2].min()) / 2
    across = np.arctan2(points_mm[:, 0], points_mm[:, 2] - depth) / (2 * np.pi) + 0.5
    low, high = points_mm[:, 1].min(), points_mm[:, 1].max()
    return np.stack([across, (points_mm[:, 1] - low) / max(high - low, 1e-6)], -1).astype(np.float32)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise SamaeError(f"{path} does not exist; make it by `python -m faces.morphable.flame` (docs/faces.md)")
    return read_npz(path, (*ARRAYS, *EMBEDDING, "edition"), "a converted FLAME", "convert FLAME's pickle again")


def check_arrays(data: dict[str, np.ndarray], path: Path) -> None:
    """Shapes, ranges and finite numbers; a SamaeError names the array that is wrong."""
    mend = "it is not FLAME's, or damaged: download it again"
    vertices, faces = (length_of(path, name, data[name], 2, mend) for name in ("template", "triangles"))
    modes = data["shape"].shape[-1] if data["shape"].ndim == 3 else 0
    due = {
        "template": (vertices, 3), "triangles": (faces, 3), "shape": (vertices, 3, modes), "pose": (vertices, 3, 36),
        "regressor": (5, vertices), "weights": (vertices, 5), "tree": (2, 5), "landmark_triangles": (68,),
        "landmark_weights": (68, 3),
    }  # fmt: skip
    for name, shape in due.items():
        check_numbers(path, name, data[name], shape, mend)
    if modes <= N_IDENTITY:
        raise SamaeError(f"{path}: shape has {modes} modes where more than {N_IDENTITY} are due; it is not FLAME's")
    check_indices(path, "triangles", data["triangles"], 0, vertices - 1, mend)
    check_indices(path, "landmark_triangles", data["landmark_triangles"], 0, faces - 1, mend)
    check_indices(path, "tree", data["tree"][0, 1:], 0, 2**32, mend)
    parents = data["tree"][0].astype(np.int64)[1:]
    if (parents < 0).any() or (parents >= np.arange(1, 5)).any():
        raise SamaeError(f"{path}: tree lists a joint before its parent; it is not FLAME's")
    if str(data["edition"]) not in EDITIONS:
        raise SamaeError(f"{path}: edition {data['edition']} is not one of {', '.join(EDITIONS)}; convert it again")
    if not all((data["weights"][:, j] > 0.5).any() for j in (3, 4)):
        raise SamaeError(f"{path}: weights move no eyeballs; it is not FLAME's")


def read_embedding(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """68 landmarks, (68,) triangles and (68, 3) weights, from landmark_embedding.npy (DECA's), a pkl or an npz."""
    data, mend = _bytes_of(path), "copy it again"
    if data[:4] == b"PK\x03\x04":
        found = read_npz(path, None, "an npz of numbers", mend)
    else:
        found = inert_pickle(_after_header(data, path), path)
        found = found[0] if isinstance(found, list) and found else found
    for triangle, weight in (("full_lmk_faces_idx", "full_lmk_bary_coords"), ("lmk_face_idx", "lmk_b_coords")):
        if isinstance(found, dict) and triangle in found and weight in found:
            places, shares = (as_array(path, name, found[name], mend) for name in (triangle, weight))
            if places.size == 68 and shares.size == 3 * 68:
                check_indices(path, triangle, places, 0, 2**31 - 1, mend, "iuf")
                check_numbers(path, weight, shares, shares.shape, mend)
                return places.reshape(-1).astype(np.int32), shares.reshape(-1, 3).astype(np.float32)
    raise SamaeError(
        f"{path} holds no 68 landmarks (full_lmk_faces_idx, full_lmk_bary_coords or lmk_face_idx, lmk_b_coords): "
        "take the landmark_embedding.npy that DECA publishes beside FLAME"
    )


def _after_header(data: bytes, path: Path) -> bytes:
    """The pickle inside an .npy of objects; other bytes as they are."""
    if not data.startswith(b"\x93NUMPY"):
        return data
    wide = data[6:7] != b"\x01"
    length = int.from_bytes(data[8 : 12 if wide else 10], "little")
    start = (12 if wide else 10) + length
    if len(data) <= start:
        raise SamaeError(f"{path} ends in its header; copy it again")
    return data[start:]


def _bytes_of(path: Path) -> bytes:
    if not path.is_file():
        raise SamaeError(f"{path} does not exist; FLAME's files come from flame.is.tue.mpg.de (account)")
    return path.read_bytes()


def convert(model: Path, embedding: Path, out: Path, edition: str) -> str:
    """FLAME's pickle and a landmark embedding -> npz, written whole or not at all; returns the pickle's SHA-256."""
    if edition not in EDITIONS:
        raise SamaeError(f"no edition of FLAME is called {edition!r}; choose one of {', '.join(EDITIONS)}")
    content = _bytes_of(model)
    found = inert_pickle(content, model)
    missing = [key for key, _ in ARRAYS.values() if not isinstance(found, dict) or key not in found]
    if missing:
        raise SamaeError(f"{model} lacks {', '.join(missing)}; it is not FLAME's model file")
    mend = "download it again"
    data = {name: as_array(model, key, found[key], mend) for name, (key, _) in ARRAYS.items()}
    for name, (key, axes) in ARRAYS.items():
        if data[name].ndim != axes or data[name].dtype.kind not in NUMBERS:
            raise SamaeError(f"{model}: {key} is no array of numbers with {axes} axes; download it again")
        whole = data[name].dtype.kind != "f"
        data[name] = data[name].astype(np.int64 if whole else np.float32)
    check_indices(model, "f", data["triangles"], 0, 2**31 - 1, mend, "iuf")
    data["triangles"] = data["triangles"].astype(np.int32)
    data["landmark_triangles"], data["landmark_weights"] = read_embedding(embedding)
    data["edition"], data["source_sha256"] = np.array(edition), np.array(sha256_bytes(content))
    check_arrays(data, model)
    with atomic_file(out) as scratch, scratch.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **data)
    return str(data["source_sha256"])


def main(arguments: list[str] | None = None) -> int:
    """The command; exit code 2 and one sentence when a file is refused."""
    parser = argparse.ArgumentParser(prog="python -m faces.morphable.flame", description="FLAME's pickle -> npz, once.")
    parser.add_argument("model", type=Path, help="generic_model.pkl or flame2023.pkl")
    parser.add_argument("embedding", type=Path, help="landmark_embedding.npy (68 landmarks; pkl and npz too)")
    parser.add_argument("out", type=Path, help="npz to write, for example ~/.samae/flame2020.npz")
    parser.add_argument("--edition", choices=sorted(EDITIONS), required=True, help="which FLAME it is; kept everywhere")
    given = parser.parse_args(arguments)
    try:
        source = convert(given.model, given.embedding, given.out, given.edition)
        head = read_flame(given.out)
    except SamaeError as error:
        print(f"flame: {error}", file=sys.stderr)
        return 2
    print(f"{given.out}: {head.edition} ({head.digest}), from a pickle with SHA-256 {source}; {head.licence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

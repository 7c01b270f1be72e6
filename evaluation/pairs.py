"""Frozen pair lists: which source goes onto which target. Every figure of the judge belongs to one, by digest.

A list is a pure function of (protocol, count, seed, keys with their persons and coefficients, shard digest): the same
inputs give the same list on every machine, and two evaluations can be compared only when their digests are equal.

Protocols (ours, after habits of the field): `cross` random pairs of different people; `same` two pictures of
one person (reconstruction of attributes); `large-pose`, `large-shape` and `skin-tone`: the eighth of random cross
pairs with the largest rotation between the heads, distance between the identity coefficients, or distance between
skin colours; `occlusion`: the eighth whose TARGET's face is hidden most; `consistency`: every drawn source onto
TARGETS_PER_SOURCE targets, so that results of one source can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from evaluation.colour import delta_e_2000, linear_to_lab
from evaluation.statistics import PairGroups
from faces.camera import rotation_matrices
from faces.errors import SamaeError
from faces.files import digest_of, read_json, write_json
from faces.morphable.base import CoefficientLayout

PROTOCOLS = ("cross", "same", "large-pose", "large-shape", "skin-tone", "occlusion", "consistency")
#: Protocols of sets that are no shards (evaluation/sets); whose pairs belong to clips; whose clips follow in time.
SET_PROTOCOLS = ("video", "faceforensics", "celeba-hq")
IN_CLIPS = ("video", "faceforensics")
IN_TIME = ("video",)
#: Random cross pairs drawn for every pair kept by a protocol of extremes.
CANDIDATES_PER_PAIR = 8
#: Targets of every source of `consistency`; the last source may have fewer.
TARGETS_PER_SOURCE = 10
#: Fewer pairs are judged by nobody: the gate's shortest comparison.
LEAST_PAIRS = 4


@dataclass(frozen=True)
class PairList:
    """N pairs. `digest` covers every other field; `shards_digest` says which data the keys belong to."""

    name: str
    protocol: str
    seed: int
    shards_digest: str
    source_keys: tuple[str, ...]
    target_keys: tuple[str, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        if len(self.source_keys) != len(self.target_keys):
            raise SamaeError(f"{len(self.source_keys)} sources do not pair with {len(self.target_keys)} targets")
        found = digest_of({k: v for k, v in asdict(self).items() if k != "digest"})
        if self.digest and self.digest != found:
            raise SamaeError(f"the pair list {self.name!r} was changed after it was frozen; make the pairs again")
        object.__setattr__(self, "digest", found)

    def __len__(self) -> int:
        return len(self.source_keys)

    @property
    def ids(self) -> tuple[str, ...]:
        """N pair ids, "source>target", unique in the list."""
        return tuple(f"{s}>{t}" for s, t in zip(self.source_keys, self.target_keys, strict=True))


def clip_numbers(pairs: PairList) -> np.ndarray | None:
    """(N,) int64 number of every pair's clip (its target's video), or None where pairs stand alone.

    Frames of one video are no independent draws: intervals draw whole clips.
    """
    if pairs.protocol not in IN_CLIPS:
        return None
    return np.unique([key.rpartition("/")[0] for key in pairs.target_keys], return_inverse=True)[1]


def draw_groups(pairs: PairList, persons: Mapping[str, int]) -> PairGroups:
    """What the pairs of a list have in common: people and clips.

    persons: key -> person, where it is known; a face without one counts as a person of its own.
    """
    named = [[persons.get(key, key) for key in keys] for keys in (pairs.source_keys, pairs.target_keys)]
    number = {person: place for place, person in enumerate(dict.fromkeys([*named[0], *named[1]]))}
    source, target = (np.array([number[person] for person in side], np.int64) for side in named)
    return PairGroups(source, target, clip_numbers(pairs))


@dataclass(frozen=True)
class FaceIndex:
    """What pairing needs to know of F faces.

    Attributes:
        keys: F sample keys.
        person: (F,) int64 identity labels, -1 where it is unknown.
        rotation_rad: (F, 3) or None.  identity: (F, K) shape coefficients or None.  skin: (F, 3) linear RGB or None.
        occlusion: (F,) 0..1, see `hidden_share`, or None.
        digest: digest of the data set that the keys belong to.
    """

    keys: tuple[str, ...]
    person: np.ndarray
    rotation_rad: np.ndarray | None = None
    identity: np.ndarray | None = None
    skin: np.ndarray | None = None
    digest: str = ""
    occlusion: np.ndarray | None = None


class ShardSetLike(Protocol):
    """The part of training.shards.ShardSet that pairing uses."""

    digest: str

    def keys(self, split: str) -> Sequence[str]:
        """Keys of a split."""
        ...

    def persons(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) identity labels, -1 where unknown."""
        ...

    def read(self, key: str, fields: tuple[str, ...]) -> dict[str, Any]:
        """Some fields of one sample."""
        ...


def make_pairs(
    shard_set: ShardSetLike,
    split: str,
    count: int,
    seed: int,
    protocol: str = "cross",
    layout: CoefficientLayout | None = None,
    least: int | None = None,
) -> PairList:
    """Freeze `count` pairs of a split of a shard set. `layout` is needed for large-pose and large-shape.

    least: as in `choose_pairs`.
    """
    index = index_shards(shard_set, split, layout, with_occlusion=protocol == "occlusion")
    return choose_pairs(index, count, seed, protocol, f"{split}-{protocol}", least)


def index_shards(
    shard_set: ShardSetLike, split: str, layout: CoefficientLayout | None = None, with_occlusion: bool = False
) -> FaceIndex:
    """Read persons, coefficients and skin colours of a split; on demand how much of every face is hidden."""
    keys = tuple(sorted(shard_set.keys(split)))
    if not keys:
        raise SamaeError(f"the split {split!r} of the shards is empty; give the data more pictures or another split")
    samples = [shard_set.read(key, ("coefficients", "skin")) for key in keys]
    person = np.asarray(shard_set.persons(keys), np.int64)
    rotation = identity = None
    if layout is not None:
        coefficients = np.stack([sample["coefficients"] for sample in samples])
        rotation, identity = layout.take(coefficients, "rotation_rad"), layout.take(coefficients, "identity")
    skin = np.stack([sample["skin"] for sample in samples])
    occlusion = np.concatenate([_hidden(shard_set, key) for key in keys]) if with_occlusion else None
    return FaceIndex(keys, person, rotation, identity, skin, shard_set.digest, occlusion)


def _hidden(shard_set: ShardSetLike, key: str) -> np.ndarray:
    sample = shard_set.read(key, ("landmarks", "mask"))
    return hidden_share(sample["landmarks"][None], sample["mask"][None].astype(np.float32) / 255)


def hidden_share(landmarks_px: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N, 68, 2) px, (N, S, S) visible face 0..1 -> (N,) share 0..1 of the landmarks' convex hull that is not visible.

    Pixels outside the picture do not count; NaN where the hull is. Ours.
    """
    shares = np.full(len(mask), np.nan)
    for n, (points, visible) in enumerate(zip(landmarks_px, mask, strict=True)):
        hull = cv2.convexHull((points - 0.5).round().astype(np.int32))
        inside = cv2.fillConvexPoly(np.zeros(visible.shape, np.uint8), hull, 1) > 0
        if inside.any():
            shares[n] = float((visible[inside] <= 0.5).mean())
    return shares


def choose_pairs(
    index: FaceIndex,
    count: int,
    seed: int,
    protocol: str = "cross",
    name: str | None = None,
    least: int | None = None,
) -> PairList:
    """Freeze `count` pairs of the faces of `index`; SamaeError when the protocol cannot give that many.

    least: where fewer than `count` exist, `cross` takes all that there are, if they are so many.
    """
    if protocol not in PROTOCOLS:
        raise SamaeError(f"there is no pair protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    rng = np.random.Generator(np.random.PCG64(seed))
    if protocol == "same":
        rows = _same_pairs(index, count, rng)
    elif protocol == "cross":
        rows = _cross_pairs(index, count, rng)
        _enough(len(rows), count if least is None else min(count, least), protocol, count)
    elif protocol == "consistency":
        rows = _repeated_sources(index, count, rng)
    else:
        candidates = _cross_pairs(index, count * CANDIDATES_PER_PAIR, rng)
        _enough(len(candidates), count, protocol)
        order = np.argsort(-SCORES[protocol](index, candidates), kind="stable")
        rows = candidates[order[:count]]
    sources, targets = (tuple(index.keys[i] for i in rows[:, side]) for side in (0, 1))
    return PairList(name or protocol, protocol, seed, index.digest, sources, targets)


def _cross_pairs(index: FaceIndex, count: int, rng: np.random.Generator) -> np.ndarray:
    """(P, 2) int source and target positions of different people: every face about equally often on both sides.

    P is `count`, or less where no more were found.
    """
    n_faces = len(index.keys)
    rows: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    for _ in range(4 * (count // max(n_faces, 1) + 1)):
        waiting = [int(i) for i in rng.permutation(n_faces)]
        for target in (int(i) for i in rng.permutation(n_faces)):
            source = next((s for s in waiting if (s, target) not in seen and _strangers(index, s, target)), None)
            if source is None:
                continue
            waiting.remove(source)
            seen.add((source, target))
            rows.append((source, target))
            if len(rows) == count:
                return np.array(rows, np.int64)
    return np.array(rows, np.int64).reshape(-1, 2)


def _strangers(index: FaceIndex, a: int, b: int) -> bool:
    known = index.person[a] >= 0 and index.person[b] >= 0
    return a != b and not (known and index.person[a] == index.person[b])


def _same_pairs(index: FaceIndex, count: int, rng: np.random.Generator) -> np.ndarray:
    """(P, 2): two pictures of one person; where persons are unknown or have one picture, a picture with itself."""
    by_person: dict[int, list[int]] = {}
    for row, person in enumerate(index.person):
        by_person.setdefault(int(person) if person >= 0 else -2 - row, []).append(row)
    pairs = [(a, b) for rows in by_person.values() for a in rows for b in rows if a != b or len(rows) == 1]
    _enough(len(pairs), count, "same")
    return np.array([pairs[i] for i in rng.permutation(len(pairs))[:count]], np.int64)


def _repeated_sources(index: FaceIndex, count: int, rng: np.random.Generator) -> np.ndarray:
    """(P, 2): drawn sources, each onto TARGETS_PER_SOURCE drawn faces of other people."""
    rows: list[tuple[int, int]] = []
    for source in (int(i) for i in rng.permutation(len(index.keys))):
        targets = [int(t) for t in rng.permutation(len(index.keys)) if _strangers(index, source, int(t))]
        rows += [(source, target) for target in targets[:TARGETS_PER_SOURCE]]
        if len(rows) >= count:
            break
    _enough(len(rows), count, "consistency")
    return np.array(rows[:count], np.int64)


def _enough(found: int, least: int, protocol: str, count: int | None = None) -> None:
    """SamaeError where fewer than `least` were found of the `count` (by default `least`) that were asked for."""
    if found < least:
        fewer = f"ask for fewer or add pictures (SAMAE_PAIRS={found})" if found >= LEAST_PAIRS else "add pictures"
        raise SamaeError(f"only {found} of {count or least} pairs exist for {protocol!r}; {fewer}")


def _needed(values: np.ndarray | None, what: str) -> np.ndarray:
    if values is None:
        raise SamaeError(f"this pair protocol needs the {what} of every face; make the pairs with the head's layout")
    return values


def pose_difference_degrees(a_rad: np.ndarray, b_rad: np.ndarray) -> np.ndarray:
    """(N, 3), (N, 3) pitch, yaw, roll in radians -> (N,) angle of the rotation between them, 0..180 degrees."""
    between = rotation_matrices(a_rad).transpose(0, 2, 1) @ rotation_matrices(b_rad)
    skew = between - between.transpose(0, 2, 1)
    sine = np.linalg.norm(np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1), axis=1)
    return np.degrees(np.arctan2(sine, np.trace(between, axis1=1, axis2=2) - 1))


def _pose_score(index: FaceIndex, rows: np.ndarray) -> np.ndarray:
    rotation = _needed(index.rotation_rad, "rotation")
    return pose_difference_degrees(rotation[rows[:, 0]], rotation[rows[:, 1]])


def _shape_score(index: FaceIndex, rows: np.ndarray) -> np.ndarray:
    identity = _needed(index.identity, "identity coefficients")
    return np.linalg.norm(identity[rows[:, 0]] - identity[rows[:, 1]], axis=1)


def _occlusion_score(index: FaceIndex, rows: np.ndarray) -> np.ndarray:
    return np.nan_to_num(_needed(index.occlusion, "occlusion")[rows[:, 1]])


def _skin_score(index: FaceIndex, rows: np.ndarray) -> np.ndarray:
    lab = linear_to_lab(_needed(index.skin, "skin colour"))
    return delta_e_2000(lab[rows[:, 0]], lab[rows[:, 1]])


SCORES: dict[str, Callable[[FaceIndex, np.ndarray], np.ndarray]] = {
    "large-pose": _pose_score,
    "large-shape": _shape_score,
    "skin-tone": _skin_score,
    "occlusion": _occlusion_score,
}


def write_pairs(path: Path, pairs: PairList) -> None:
    """Write a pair list as JSON."""
    write_json(path, asdict(pairs))


def read_pairs(path: Path) -> PairList:
    """Read a pair list; one whose content no longer matches its digest is a SamaeError."""
    raw = read_json(path)
    try:
        fields = {**raw, "source_keys": tuple(raw["source_keys"]), "target_keys": tuple(raw["target_keys"])}
        return PairList(**fields)
    except (KeyError, TypeError) as error:
        raise SamaeError(f"{path} is not a pair list ({error}); make the pairs again") from None

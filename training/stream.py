"""Shards to batches. Which picture is at which place of training is a pure function of (seed, epoch, data digest).

Position p of the global training order is place p mod n of epoch p // n, and every epoch is one permutation of the n
samples of the split. Mixing is total: shards are read by random access, so there is no interleaving of shards and no
shuffle buffer whose content would have to be restored, and nothing asks for as many shards as readers: what must be
large enough is the split (a batch at least), and that is checked with the arithmetic. A step at
`samples_seen` takes the positions samples_seen … samples_seen + batch_size - 1; rank r of w takes the r-th of w equal,
contiguous ranges. Hence the whole state of the stream is one number, a restart continues exactly, and the pictures of
a step are the same for every number of ranks and threads.

Threads decode (OpenCV and numpy release the interpreter lock), a batch a task, `prefetch` batches ahead, in order.
Pictures stay bytes (PackedFaces) until they are on the device that works with them: float32 planes are four times the
memory traffic, and making them took a loader a fifth of its time. The memory of a batch is asked for by the thread
that takes the batches: the allocator gives memory that a decoding thread asked for back to the system every time, and
8 MB a batch would be mapped and zeroed anew.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from faces.errors import SamaeError
from training.batch import FaceBatch, PackedFaces
from training.same_person import SecondPictures
from training.shards import EmbedsFaces, ShardSet

#: What a FaceBatch needs of a sample; the person comes from the manifest.
NUMBERS = ("coefficients", "embedding", "skin", "landmarks")
BATCH_FIELDS = ("image", "mask", *NUMBERS)


def epoch_order(seed: int, epoch: int, digest: str, count: int) -> np.ndarray:
    """(count,) int64 permutation: the order of an epoch. Philox, so that it is the same on every machine."""
    entropy = np.random.SeedSequence([seed, epoch, int(digest[:16], 16)])
    return np.random.Generator(np.random.Philox(entropy)).permutation(count)


@dataclass(frozen=True)
class Placed:
    """Faces and their places in the global training order."""

    faces: PackedFaces
    positions: range


class Stream:
    """The batches of one rank.

    Args:
        shard_set: the open shards.
        split: "train" as a rule.
        batch_size: pictures a step over ALL ranks; a multiple of world_size.
        seed: of the order.
        rank, world_size: which part of every step is this process's.
        workers: decoding threads.  prefetch: batches decoded ahead (default: workers + 1).
        second_every: updates 0, k, 2k … are given embeddings of second pictures of their people (methods/base.py);
            0: none is, and no index of people is made.
    Attributes:
        notes: what the reader should know about the data.
    """

    def __init__(
        self,
        shard_set: ShardSet,
        split: str,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        workers: int = 1,
        prefetch: int | None = None,
        second_every: int = 0,
    ) -> None:
        self.keys = shard_set.keys(split)
        require_batches(len(self.keys), split, batch_size, world_size)
        self.shard_set, self.batch_size, self.seed = shard_set, batch_size, seed
        self.rank_batch = batch_size // world_size
        self._first = rank * self.rank_batch
        self._workers = max(1, workers)
        self._prefetch = prefetch if prefetch is not None else self._workers + 1
        self._orders: dict[int, np.ndarray] = {}
        self._second_every = second_every
        self._seconds = SecondPictures(shard_set.persons(self.keys), seed) if second_every else None
        self.notes = [self._seconds.note] if self._seconds else []

    def key_at(self, position: int) -> str:
        """The key at a place of the global training order."""
        return self.keys[self._place(position)]

    def second_key_at(self, position: int) -> str | None:
        """The key of another picture of the person at a place of the order; None: there is none, or none is wanted."""
        place = self._seconds.place_at(self._place(position), position) if self._seconds else None
        return None if place is None else self.keys[place]

    def _place(self, position: int) -> int:
        epoch, place = divmod(position, len(self.keys))
        if epoch not in self._orders:
            kept = {known: order for known, order in self._orders.items() if known >= epoch - 1}
            self._orders = {**kept, epoch: epoch_order(self.seed, epoch, self.shard_set.digest, len(self.keys))}
        return int(self._orders[epoch][place])

    def positions(self, samples_seen: int) -> range:
        """This rank's places of the step that begins after `samples_seen` pictures."""
        start = samples_seen + self._first
        return range(start, start + self.rank_batch)

    def at(self, samples_seen: int) -> Iterator[FaceBatch]:
        """Endless batches on the CPU from the step that begins after `samples_seen` pictures (over all ranks) on."""
        for placed in self.placed_at(samples_seen):
            yield placed.faces.unpacked()

    def placed_at(self, samples_seen: int) -> Iterator[Placed]:
        """As `at`, packed, with the positions that the methods' random numbers come from."""
        waiting: deque[Future[Placed]] = deque()
        with ThreadPoolExecutor(self._workers, "decode", torch.set_num_threads, (1,)) as pool:
            try:
                while True:
                    while len(waiting) < self._prefetch:
                        room = batch_room(self.rank_batch, self.shard_set.size_px)
                        waiting.append(pool.submit(self._load, *self._step_keys(samples_seen), room))
                        samples_seen += self.batch_size
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _step_keys(self, samples_seen: int) -> tuple[range, list[str], list[str | None]]:
        positions = self.positions(samples_seen)
        is_wanted = self._second_every > 0 and samples_seen // self.batch_size % self._second_every == 0
        seconds = [self.second_key_at(position) for position in positions] if is_wanted else []
        return positions, [self.key_at(position) for position in positions], seconds

    def _load(
        self, positions: range, keys: list[str], seconds: list[str | None], room: tuple[np.ndarray, np.ndarray]
    ) -> Placed:
        faces = load_packed(self.shard_set, keys, room)
        if any(seconds):
            faces.numbers["second"] = embeddings_of(self.shard_set, seconds)
        return Placed(faces, positions)


def batch_room(count: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory for a batch's pictures (N, S, S, 3) and masks (N, S, S), uint8, not filled."""
    return np.empty((count, size_px, size_px, 3), np.uint8), np.empty((count, size_px, size_px), np.uint8)


def load_faces(shard_set: ShardSet, keys: Sequence[str]) -> FaceBatch:
    """The faces of these keys, in this order, on the CPU (see FaceBatch for shapes and ranges)."""
    return load_packed(shard_set, keys).unpacked()


def load_packed(
    shard_set: ShardSet, keys: Sequence[str], room: tuple[np.ndarray, np.ndarray] | None = None
) -> PackedFaces:
    """The faces of these keys, in this order, as bytes.

    room: `batch_room` of as many faces, which becomes the batch's memory; None takes new memory.
    """
    if not keys:
        raise SamaeError("no keys were given; a batch has one face at least")
    image, mask = room or batch_room(len(keys), shard_set.size_px)
    samples = [_load_into(shard_set, key, image[row], mask[row]) for row, key in enumerate(keys)]
    numbers = {name: _stack(samples, name) for name in NUMBERS}
    if shard_set.embedder is not None:
        numbers["embedding"] = _embeddings(shard_set.embedder, shard_set.embedded, keys, image, numbers["landmarks"])
    numbers["person"] = torch.from_numpy(shard_set.persons(keys))
    return PackedFaces(torch.from_numpy(image), torch.from_numpy(mask), numbers, tuple(keys))


def embeddings_of(shard_set: ShardSet, keys: Sequence[str | None]) -> torch.Tensor:
    """(N, M) float32 unit vectors of these keys' pictures, zeros where a key is None (not all may be)."""
    wanted = list(dict.fromkeys(key for key in keys if key is not None))
    if shard_set.embedder is None:
        known = {key: shard_set.read(key, ("embedding",))["embedding"] for key in wanted}
    else:
        missing = [key for key in wanted if key not in shard_set.embedded]
        if missing:
            load_packed(shard_set, missing)  # embeds them, once a face
        known = shard_set.embedded
    nothing = np.zeros_like(known[wanted[0]])
    return torch.from_numpy(np.stack([nothing if key is None else known[key] for key in keys])).float()


def _load_into(shard_set: ShardSet, key: str, image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """One sample: its picture and mask into their places, while they are in the core's cache; its other fields."""
    sample = shard_set.read(key, BATCH_FIELDS)
    picture, visible = sample.pop("image"), sample.pop("mask")
    sizes = {picture.shape[:2], visible.shape}
    if sizes != {(shard_set.size_px, shard_set.size_px)}:
        raise SamaeError(
            f"the pictures of {key!r} have {sorted(sizes)} px and lie among shards of {shard_set.size_px} px; write "
            "them anew"
        )
    image[:], mask[:] = picture, visible
    return sample


def _embeddings(
    embedder: EmbedsFaces, known: dict[str, np.ndarray], keys: Sequence[str], images: np.ndarray, marks: torch.Tensor
) -> torch.Tensor:
    """(N, M) unit vectors of the encoder that takes the place of the shards' own.

    A face is embedded once and by itself: then neither its batch nor where a run was continued shows in the last bit.
    """
    for row, key in enumerate(keys):
        if key not in known:
            known[key] = np.asarray(embedder.embed(images[row : row + 1], marks[row : row + 1].numpy())[0], np.float32)
    return torch.from_numpy(np.stack([known[key] for key in keys]))


def _stack(samples: list[dict[str, Any]], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([sample[name] for sample in samples])).float()


def require_batches(count: int, split: str, batch_size: int, world_size: int) -> None:
    """SamaeError unless a split of so many samples fills a batch, and ranks share one evenly."""
    if batch_size % world_size:
        raise SamaeError(
            f"train.batch_size {batch_size} is not a multiple of {world_size} ranks "
            f"({batch_size} / {world_size} = {batch_size / world_size:.2f}); choose another batch size or rank count"
        )
    if count < batch_size:
        raise SamaeError(
            f"the split {split!r} has {count} samples < a batch of {world_size} ranks x {batch_size // world_size} = "
            f"{batch_size}; add photographs or lower train.batch_size"
        )

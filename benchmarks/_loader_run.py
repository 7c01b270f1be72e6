"""One measurement of `samae bench loader` in a process of its own: python -m benchmarks._loader_run '<JSON>' -> JSON.

Every loader gives the same batches: uint8 pictures (N, S, S, 3) and masks (N, S, S), coefficients, embedding, skin and
landmarks, as the trainer takes them; "samae-float" makes float32 planes of them besides. Each peer is used as its own
documentation does (its workers, its shuffling, its container), once with its own picture decoder and once with ours.
"""

import importlib.abc
import importlib.machinery
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from PIL import Image

from faces.records import FIELDS, Member, decode_sample
from training.members import read_members
from training.shards import ShardSet
from training.stream import BATCH_FIELDS, Stream

BATCH = 32
ARRAYS = tuple(name for name in BATCH_FIELDS if name not in ("image", "mask"))


def decode_with_pil(members: Mapping[str, Member]) -> dict[str, np.ndarray]:
    """The fields of a batch with PIL, which the peers use by default, and numpy.load."""
    sample = {name: np.load(io.BytesIO(members[FIELDS[name].extension])) for name in ARRAYS}
    sample["image"] = np.asarray(Image.open(io.BytesIO(members[FIELDS["image"].extension])).convert("RGB"))
    sample["mask"] = np.asarray(Image.open(io.BytesIO(members[FIELDS["mask"].extension])).convert("L"))
    return sample


def decode_with_ours(members: Mapping[str, Member]) -> dict[str, np.ndarray]:
    """The same with faces/records.py."""
    return decode_sample(members, BATCH_FIELDS)


def tensors(sample: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The arrays as they are; copied only where torch could not write to them (PIL's)."""
    return {name: torch.from_numpy(np.require(sample[name], requirements="W")) for name in BATCH_FIELDS}


def ours(folder: Path, workers: int, _: Any) -> Iterator[int]:
    """Samae's stream: threads in one process."""
    for placed in Stream(ShardSet.open(folder / "shards"), "train", BATCH, 0, workers=workers).placed_at(0):
        yield len(placed.faces.image)


def ours_in_float(folder: Path, workers: int, _: Any) -> Iterator[int]:
    """The same, and float32 planes (N, C, S, S) in 0..1 made on the CPU by the thread that takes the batches."""
    for batch in Stream(ShardSet.open(folder / "shards"), "train", BATCH, 0, workers=workers).at(0):
        yield len(batch.image)


def decode(folder: Path, workers: int, _: Any) -> Iterator[int]:
    """The decoders alone, on bytes in memory: the same members, no order, no batch, no conversion."""
    shards = ShardSet.open(folder / "shards")
    held = []
    for key in shards.keys("train"):
        row = shards.row(key)
        with (folder / "shards" / row.shard).open("rb") as stream:
            stream.seek(row.offset_bytes)
            held.append(read_members(stream.read(row.size_bytes), key))

    def some(start: int) -> int:
        """Decode as many pictures as a batch has."""
        for i in range(start, start + BATCH):
            decode_with_ours(held[i % len(held)])
        return BATCH

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(some, i * BATCH) for i in range(workers + 1)]
        place = len(waiting)
        while True:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(some, place * BATCH))
            place += 1


def webdataset(folder: Path, workers: int, decoder: Callable[..., Any]) -> Iterator[int]:
    """WebDataset reading the same tars: shard and sample shuffling, a DataLoader of worker processes."""
    import webdataset as wds

    names = {field.extension: field.extension for field in FIELDS.values()}
    urls = [str(path) for path in sorted((folder / "shards").glob("*.tar"))]

    def prepare(sample: dict[str, Any]) -> dict[str, torch.Tensor]:
        return tensors(decoder({name: sample[name] for name in names if name in sample}))

    data = wds.WebDataset(urls, shardshuffle=100, resampled=True, nodesplitter=wds.split_by_node)
    loader = wds.WebLoader(data.shuffle(500).map(prepare).batched(BATCH), batch_size=None, num_workers=workers)
    for batch in loader:
        yield len((batch[0] if isinstance(batch, list | tuple) else batch)["image"])


def litdata(folder: Path, workers: int, decoder: Callable[..., Any]) -> Iterator[int]:
    """litdata over its own chunks."""
    from litdata import StreamingDataLoader, StreamingDataset

    class Data(StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            return tensors(decoder(super().__getitem__(index)))

    data = Data(str(folder / "litdata"), shuffle=True)
    while True:
        for batch in StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, drop_last=True):
            yield len(batch["image"])


def mosaic(folder: Path, workers: int, decoder: Callable[..., Any]) -> Iterator[int]:
    """mosaicml-streaming over its own MDS files."""
    blank_missing()
    from streaming import StreamingDataset

    class Data(StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            return tensors(decoder(super().__getitem__(index)))

    data = Data(local=str(folder / "mosaic"), shuffle=True, batch_size=BATCH)
    while True:
        for batch in torch.utils.data.DataLoader(data, batch_size=BATCH, num_workers=workers, drop_last=True):
            yield len(batch["image"])


class _Blank(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules in place of torchvision and transformers: mosaicml-streaming imports them for names it does not
    use here, and torchvision cannot be imported beside a CPU build of torch."""

    def find_spec(self, name: str, *_: Any) -> Any:
        """A specification for the two packages and all below them; None leaves the rest to Python."""
        ours = name.partition(".")[0] in ("torchvision", "transformers")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: Any) -> ModuleType:
        """A module whose every name is an empty class."""
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: _refuse(name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: the module is empty."""


def _refuse(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})


def blank_missing() -> None:
    """Put the empty modules in place, in this process alone."""
    sys.meta_path.insert(0, _Blank())


def _cpu_s() -> float:
    """Seconds of CPU of this process and its workers so far: what a loaded machine cannot distort much."""
    me = psutil.Process()
    return sum(process.cpu_times().user + process.cpu_times().system for process in (me, *me.children(recursive=True)))


LOADERS = {
    "samae": ours, "samae-float": ours_in_float, "decode": decode,
    "webdataset": webdataset, "litdata": litdata, "mosaic": mosaic,
}  # fmt: skip


def measure(what: str, folder: Path, workers: int, seconds: float, decoder: str) -> dict[str, float]:
    """Run a loader for `seconds` after its first 4 batches."""
    started = time.perf_counter()
    batches = LOADERS[what](folder, workers, {"pil": decode_with_pil, "ours": decode_with_ours}[decoder])
    next(batches)
    first_s = time.perf_counter() - started
    for _ in range(3):
        next(batches)
    begin, busy, count = time.perf_counter(), _cpu_s(), 0
    while time.perf_counter() - begin < seconds:
        count += next(batches)
    rate, busy = count / (time.perf_counter() - begin), _cpu_s() - busy
    me = psutil.Process()
    own = sum(process.memory_full_info().pss for process in (me, *me.children(recursive=True)))
    return {
        "images_per_s": rate,
        "images_per_cpu_s": count / max(busy, 1e-9),
        "first_batch_s": first_s,
        "memory_mib": own / 2**20,
    }


if __name__ == "__main__":
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    asked = json.loads(sys.argv[1])
    answer = measure(asked["what"], Path(asked["folder"]), asked["workers"], asked["seconds"], asked["decoder"])
    print("\n" + json.dumps(answer), flush=True)
    os._exit(0)  # peers' worker processes end with it; some of them hang otherwise

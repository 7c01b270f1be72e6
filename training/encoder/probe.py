"""Does an encoder look at the inner face? BlendFace's own measure, made exact by true swaps, and saliency by occlusion.

Same, different and swapped pairs (BlendFace, figure 2 and README): a *swapped* picture is B's picture with A's inner
face, rendered as the generator would have photographed it; an encoder of faces finds it as like A as A's own pictures.
Saliency: how much the similarity of a pair falls under a grey square that slides over one of the two crops, averaged
over squares of 16 to 56 px at 112 px (sizes: the author in BlendFace#6; stride, fill and scale with the crop: ours).
"""

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from faces.identity.encoder import Encoder, TorchEncoder
from training.encoder.crops import crop_faces

#: Sides of the sliding square at 112 px.
SQUARES_AT_112 = (16, 24, 32, 40, 48, 56)
#: Bins of a histogram over -1..1, and of the smoothing that finds its peak.
BINS, SMOOTH = 80, 5


@dataclass(frozen=True)
class Probe:
    """Rendered people no encoder saw. images (N, S, S, 3) uint8; masks (N, S, S) uint8 inner face; landmarks px.

    `wearer` (N,) is whose face it is, `owner` (N,) whose hair, head and clothes; they differ in swapped pictures.
    """

    images: np.ndarray
    masks: np.ndarray
    landmarks: np.ndarray
    wearer: np.ndarray
    owner: np.ndarray


@dataclass(frozen=True)
class Similarities:
    """Cosines of all pairs of one kind: same person, different people, and a person with their face in another head."""

    same: np.ndarray
    different: np.ndarray
    swapped: np.ndarray

    def peaks(self) -> dict[str, float]:
        """Where each histogram peaks (BINS bins over -1..1, running mean of SMOOTH)."""
        return {name: peak(getattr(self, name)) for name in ("same", "different", "swapped")}


def render_probe(people: int = 24, pictures: int = 3, seed: int = 909, size_px: int = 128, workers: int = 1) -> Probe:
    """`pictures` plain and as many swapped pictures a person; every scene is drawn for its owner."""
    tasks = [(seed, index, people, pictures, size_px) for index in range(people)]
    if workers > 1:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            rows = pool.map(_render, tasks)
    else:
        rows = [_render(task) for task in tasks]
    return Probe(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))


def _render(task: tuple[int, int, int, int, int]) -> tuple[np.ndarray, ...]:
    from faces.synthetic.person import person_from_seed
    from faces.synthetic.portrait import render_person
    from faces.synthetic.scene import scene_from_seed

    seed, index, people, pictures, size_px = task
    torch.set_num_threads(1)
    wearer = person_from_seed(seed, index)
    portraits, owners = [], []
    for turn in range(2 * pictures):
        owner_index = index if turn < pictures else (index + 1 + turn) % people
        owner = person_from_seed(seed, owner_index)
        scene = scene_from_seed(seed, index * 2 * pictures + turn, owner)
        portraits.append(render_person(owner, scene, size_px, wearer=None if owner_index == index else wearer))
        owners.append(owner_index)
    images, masks, marks = (np.stack([getattr(p, n) for p in portraits]) for n in ("image", "mask", "landmarks_px"))
    return images, masks, marks, np.full(len(owners), index), np.array(owners)


def similarities(encoder: Encoder, probe: Probe) -> Similarities:
    """All pairs of plain pictures, and of a plain with a swapped picture that wears the same face."""
    vectors = encoder.embed(probe.images, probe.landmarks)
    cosine = vectors @ vectors.T
    plain = probe.wearer == probe.owner
    first, second = np.triu_indices(len(vectors), 1)
    both = plain[first] & plain[second]
    alike = probe.wearer[first] == probe.wearer[second]
    # A swapped picture against plain ones of its wearer.
    mixed = (plain[first] != plain[second]) & alike
    values = cosine[first, second]
    return Similarities(values[both & alike], values[both & ~alike], values[mixed])


def peak(values: np.ndarray) -> float:
    """The similarity at which the histogram of `values` peaks."""
    counts, edges = np.histogram(values, BINS, (-1, 1))
    smooth = np.convolve(counts, np.ones(SMOOTH) / SMOOTH, mode="same")
    middle = int(smooth.argmax())
    return float((edges[middle] + edges[middle + 1]) / 2)


def saliency(
    embed: Callable[[torch.Tensor], torch.Tensor], crops: torch.Tensor, others: torch.Tensor, squares: Sequence[int]
) -> np.ndarray:
    """Mean fall of cos(crop, other) where a grey square covers a pixel, averaged over the squares' sizes.

    Args:
        embed: (N, 3, S, S) in -1..1 -> (N, M) unit vectors.
        crops, others: (N, 3, S, S) in -1..1, pairs of one person.  squares: sides, px of the crop.
    Returns:
        (S, S) float64.
    """
    size_px = crops.shape[-1]
    wanted = embed(others)
    whole = (embed(crops) * wanted).sum(1)
    maps = []
    for side in squares:
        step = max(1, side // 2)
        starts = sorted({*range(0, size_px - side + 1, step), size_px - side})
        total, count = np.zeros((size_px, size_px)), np.zeros((size_px, size_px))
        for y in starts:
            for x in starts:
                covered = crops.clone()
                covered[:, :, y : y + side, x : x + side] = 0
                fall = float((whole - (embed(covered) * wanted).sum(1)).mean())
                total[y : y + side, x : x + side] += fall
                count[y : y + side, x : x + side] += 1
        maps.append(total / np.maximum(count, 1))
    return np.mean(maps, 0)


def probe_saliency(encoder: TorchEncoder, probe: Probe, pairs: int = 8) -> tuple[np.ndarray, np.ndarray, float]:
    """Saliency over `pairs` pairs of plain pictures: the mean crop (S, S, 3) uint8, the map (S, S), and the share of
    the map's positive mass that lies outside the inner face (hair, outline, background)."""
    plain = np.flatnonzero(probe.wearer == probe.owner)
    firsts = [rows[0] for rows in (plain[probe.wearer[plain] == who] for who in np.unique(probe.wearer))][:pairs]
    seconds = [rows[1] for rows in (plain[probe.wearer[plain] == who] for who in np.unique(probe.wearer))][:pairs]
    parts = [
        crop_faces(probe.images[r], probe.masks[r], probe.landmarks[r], encoder.crop_px) for r in (firsts, seconds)
    ]
    crops, others = (torch.from_numpy(p[0]).permute(0, 3, 1, 2).float() / 127.5 - 1 for p in parts)

    @torch.inference_mode()
    def embed(x: torch.Tensor) -> torch.Tensor:
        """Crops -> unit vectors (N, dim)."""
        return functional.normalize(encoder.network(x.contiguous(memory_format=torch.channels_last)).float(), dim=1)

    squares = [max(2, round(side * encoder.crop_px / 112)) for side in SQUARES_AT_112]
    found = saliency(embed, crops, others, squares)
    inside = parts[0][1].mean(0) >= 128
    mass = np.clip(found, 0, None)
    return parts[0][0].mean(0).astype(np.uint8), found, float(mass[~inside].sum() / max(mass.sum(), 1e-12))

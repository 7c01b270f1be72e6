"""The usual way to judge: one script a metric, each decoding its pictures again, with the libraries people take.

scikit-image for PSNR, SSIM, colour and gradients, one encoder at a time. The fit of heads has no usual library: our
own is run again by each of its scripts, as separate pose, expression and shape networks are in published evaluations;
the bench gives the speedup without these scripts too. Every script returns its mean over the pairs, which the bench
compares with the judge's.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.filters import sobel_h, sobel_v
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks._evaluate_set import SEED, PictureSet
from evaluation.context import Gallery, Measured, PairContext, Pictures, grow, known_coefficients
from evaluation.measure import FitMeasurer, default_measurer
from evaluation.metrics import expression, gaze, light, pose, shape
from evaluation.metrics.base import Metric
from evaluation.metrics.truth_landmarks import nme_percent
from evaluation.pairs import PairList
from faces.identity.registry import load_encoder
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.synthetic.pictures import picture_of

BATCH = 16
CAP_DB = 60.0
Item = TypeVar("Item")
Script = Callable[[PictureSet, PairList], float]
#: Some pairs: source key, target key, name of the pair.
Part = tuple[tuple[str, str, str], ...]


def batched(items: Iterable[Item], count: int) -> Iterator[tuple[Item, ...]]:
    """The items in tuples of `count`, the last one shorter (itertools has it from Python 3.12 on)."""
    rest = iter(items)
    while part := tuple(islice(rest, count)):
        yield part


def read(pictures: PictureSet, kind: str, name: str) -> np.ndarray:
    """(S, S, 3) uint8, decoded again."""
    return np.asarray(Image.open(pictures.picture(kind, name)).convert("RGB"))


def _each(pairs: PairList) -> Iterator[tuple[str, str, str]]:
    for source, target in zip(pairs.source_keys, pairs.target_keys, strict=True):
        yield source, target, f"{source}-{target}"


def _face(pictures: PictureSet, target: str, name: str) -> np.ndarray:
    return (pictures.known("faces", target)["mask"] > 127) | (pictures.known("truth", name)["mask"] > 127)


def _db(a: np.ndarray, b: np.ndarray) -> float:
    return float(min(peak_signal_noise_ratio(a, b, data_range=255), CAP_DB)) if (a != b).any() else CAP_DB


def truth_psnr(pictures: PictureSet, pairs: PairList) -> float:
    """Mean PSNR to the truth, dB."""
    names = [name for *_, name in _each(pairs)]
    return float(np.mean([_db(read(pictures, "results", n), read(pictures, "truth", n)) for n in names]))


def truth_face_psnr(pictures: PictureSet, pairs: PairList) -> float:
    """The same inside the face."""
    values = []
    for _, target, name in _each(pairs):
        inside = _face(pictures, target, name)
        values.append(_db(read(pictures, "results", name)[inside], read(pictures, "truth", name)[inside]))
    return float(np.mean(values))


def background_psnr(pictures: PictureSet, pairs: PairList) -> float:
    """Mean PSNR to the target outside the face, dB."""
    values = []
    for _, target, name in _each(pairs):
        outside = ~grow(_face(pictures, target, name)[None], 0.04)[0]
        values.append(_db(read(pictures, "results", name)[outside], read(pictures, "faces", target)[outside]))
    return float(np.mean(values))


def truth_ssim(pictures: PictureSet, pairs: PairList, in_face: bool = False) -> float:
    """Mean SSIM to the truth, whole picture or inside the face."""
    values = []
    for _, target, name in _each(pairs):
        images = read(pictures, "results", name), read(pictures, "truth", name)
        mean, full = structural_similarity(
            *images, channel_axis=2, gaussian_weights=True, use_sample_covariance=False, full=True
        )
        if in_face:
            inside = _face(pictures, target, name)
            inside[:5] = inside[-5:] = inside[:, :5] = inside[:, -5:] = False
            mean = full.mean(axis=-1)[inside].mean()
        values.append(mean)
    return float(np.mean(values))


def skin_delta_e(pictures: PictureSet, pairs: PairList) -> float:
    """ΔE00 of the mean face colours of result and target."""
    values = []
    for _, target, name in _each(pairs):
        core = grow((pictures.known("faces", target)["mask"] > 127)[None], -0.03)[0]
        images = read(pictures, "results", name), read(pictures, "faces", target)
        values.append(deltaE_ciede2000(*(rgb2lab(image)[core].mean(axis=0) for image in images)))
    return float(np.mean(values))


def truth_delta_e(pictures: PictureSet, pairs: PairList) -> float:
    """Mean ΔE00 to the truth inside the face."""
    values = []
    for _, target, name in _each(pairs):
        labs = rgb2lab(read(pictures, "results", name)), rgb2lab(read(pictures, "truth", name))
        values.append(deltaE_ciede2000(*labs)[_face(pictures, target, name)].mean())
    return float(np.mean(values))


def seam(pictures: PictureSet, pairs: PairList) -> float:
    """Edges along the face's border that neither target nor truth has, L* a px."""
    values = []
    for _, target, name in _each(pairs):
        inside = (pictures.known("faces", target)["mask"] > 127)[None]
        ring = (grow(inside, 0.03) & ~grow(inside, -0.03))[0]
        kinds = (("results", name), ("faces", target), ("truth", name))
        lightness = [rgb2lab(read(pictures, kind, one))[..., 0] for kind, one in kinds]
        result, *known = (np.hypot(sobel_h(plane), sobel_v(plane)) / 2 for plane in lightness)
        side = 2 * max(1, round(0.02 * pictures.size_px)) + 1
        explained = ndimage.grey_dilation(np.maximum(*known), size=(side, side))
        values.append(np.maximum(result - explained, 0)[ring].mean())
    return float(np.mean(values))


def _embed(pictures: PictureSet, encoder: str, kind: str, names: list[str], marks_of: list[str]) -> np.ndarray:
    network, rows = load_encoder(encoder), []
    for part in batched(zip(names, marks_of, strict=True), BATCH):
        images = np.stack([read(pictures, kind, name) for name, _ in part])
        rows.append(network.embed(images, np.stack([pictures.known("faces", key)["landmarks_px"] for _, key in part])))
    return np.concatenate(rows)


def similarity(pictures: PictureSet, pairs: PairList, encoder: str, to: str) -> float:
    """Mean cosine of results and sources, or of results and targets."""
    names = [name for *_, name in _each(pairs)]
    results = _embed(pictures, encoder, "results", names, list(pairs.target_keys))
    keys = list(pairs.source_keys if to == "source" else pairs.target_keys)
    return float((results * _embed(pictures, encoder, "faces", keys, keys)).sum(axis=1).mean())


def retrieval(pictures: PictureSet, pairs: PairList, encoder: str) -> float:
    """Share of results whose source's person is the nearest of all faces."""
    keys = list(dict.fromkeys((*pairs.source_keys, *pairs.target_keys)))
    gallery = _embed(pictures, encoder, "faces", keys, keys)
    names = [name for *_, name in _each(pairs)]
    scores = _embed(pictures, encoder, "results", names, list(pairs.target_keys)) @ gallery.T
    people = np.array([picture_of(SEED, int(key), pictures.people)[0] for key in keys])
    sources = [picture_of(SEED, int(key), pictures.people)[0] for key in pairs.source_keys]
    return float((people[scores.argmax(axis=1)] == np.array(sources)).mean())


def _expected(pictures: PictureSet, part: Part, head: MorphableHead) -> tuple[Pictures, Pictures, Pictures, np.ndarray]:
    """Source, target, result of some pairs, and the coefficients that the results are expected to have."""
    target, source = (_known_faces(pictures, [one[at] for one in part]) for at in (1, 0))
    result = _known_faces(pictures, [one[1] for one in part], [one[2] for one in part])
    expected, rows = known_coefficients(target).copy(), head.layout.slices["identity"]
    expected[:, rows] = known_coefficients(source)[:, rows]
    return source, target, result, expected


def landmark_nme(pictures: PictureSet, pairs: PairList) -> float:
    """Landmarks found in the result against the true swap's, % of the eye distance. Nothing is fitted."""
    measurer = _measurer()
    values = []
    for part in batched(_each(pairs), BATCH):
        *_, result, expected = _expected(pictures, part, measurer.head)
        true_px = np.stack([pictures.known("truth", name)["landmarks_px"] for *_, name in part])
        values.append(nme_percent(measurer.locate(result, expected), true_px))
    return float(np.mean(np.concatenate(values)))


def gaze_degrees(pictures: PictureSet, pairs: PairList) -> float:
    """Mean angle between the gazes of result and target; nothing is fitted."""
    values = []
    for part in batched(_each(pairs), BATCH):
        target = _known_faces(pictures, [one[1] for one in part])
        result = _known_faces(pictures, [one[1] for one in part], [one[2] for one in part])
        values.append(gaze.METRIC.compute(PairContext(target, target, result, None, _NO_GALLERY, (), ())))
    return float(np.nanmean(np.concatenate(values)))


def fitted(pictures: PictureSet, pairs: PairList, metric: Metric, against: str) -> float:
    """One metric of fitted heads: result and the face that it is compared with are decoded and fitted again."""
    measurer = _measurer()
    values = []
    for part in batched(_each(pairs), BATCH):
        source, target, result, expected = _expected(pictures, part, measurer.head)
        other = source if against == "source" else target
        fit, found = measurer.measure(result, expected)
        anchor = measurer.measure(other, known_coefficients(other))[0]
        pair = PairContext(source, target, result, None, _NO_GALLERY, (), ())
        pair.measured = Measured(measurer.head, anchor, anchor, fit, found)
        values.append(metric.compute(pair))
    return float(np.nanmean(np.concatenate(values)))


def _measurer() -> FitMeasurer:
    measurer = default_measurer(load_head("builtin"))
    assert measurer is not None
    return measurer


_NO_GALLERY = Gallery((), np.zeros(0, np.int64), {})


def _known_faces(pictures: PictureSet, keys: list[str], results: list[str] | None = None) -> Pictures:
    known = [pictures.known("faces", key) for key in keys]
    where = [("faces", key) for key in keys] if results is None else [("results", name) for name in results]
    marks, coefficients = (np.stack([k[name] for k in known]) for name in ("landmarks_px", "coefficients"))
    images = np.stack([read(pictures, *one) for one in where])
    return Pictures(images, marks.astype(np.float32), np.zeros(images.shape[:3], np.float32), coefficients)


def scripts(encoders: list[str]) -> dict[str, Script]:
    """Every script by the name of the judge's metric that it gives."""
    made: dict[str, Script] = {
        "truth_psnr_db": truth_psnr,
        "truth_face_psnr_db": truth_face_psnr,
        "background_psnr_db": background_psnr,
        "truth_ssim": truth_ssim,
        "truth_face_ssim": partial(truth_ssim, in_face=True),
        "skin_delta_e": skin_delta_e,
        "truth_face_delta_e": truth_delta_e,
        "seam": seam,
        "truth_landmark_nme": landmark_nme,
        "gaze_degrees": gaze_degrees,
    }
    for encoder in encoders:
        made[f"identity_similarity.{encoder}"] = partial(similarity, encoder=encoder, to="source")
        made[f"identity_leak.{encoder}"] = partial(similarity, encoder=encoder, to="target")
        made[f"retrieval_top1.{encoder}"] = partial(retrieval, encoder=encoder)
    return made | fit_scripts()


def fit_scripts() -> dict[str, Script]:
    """The scripts that fit heads."""
    made: dict[str, Script] = {
        metric.name: partial(fitted, metric=metric, against="target")
        for metric in (pose.METRIC, expression.METRIC, light.METRIC)
    }
    return made | {"shape_mm": partial(fitted, metric=shape.METRIC, against="source")}

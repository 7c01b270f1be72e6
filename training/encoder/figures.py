"""The figures of training/encoder/probe.py as PNG files, drawn with OpenCV."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from faces.errors import SamaeError
from faces.files import write_bytes
from training.encoder.probe import Similarities

#: BGR of same, different and swapped.
COLOURS = {"same": (150, 90, 30), "different": (120, 120, 120), "swapped": (40, 110, 230)}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 230, 20, 740, 34, 196
LOWEST = -0.5


def draw_similarities(distributions: Mapping[str, Similarities], path: Path) -> None:
    """One panel an encoder: histograms of same, different and swapped pairs over similarity, peaks written beside."""
    _save(path, np.concatenate([_panel(name, found) for name, found in distributions.items()]))


def _panel(name: str, found: Similarities) -> np.ndarray:
    panel = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    bins = np.linspace(LOWEST, 1, 61)
    shares = {kind: np.histogram(getattr(found, kind), bins)[0] for kind in COLOURS}
    shares = {kind: counts / max(counts.sum(), 1) for kind, counts in shares.items()}
    top = max(float(share.max()) for share in shares.values())
    across = (bins - LOWEST) / (1 - LOWEST) * (RIGHT - LEFT) + LEFT
    for kind, share in shares.items():
        heights = BOTTOM - share / top * (BOTTOM - TOP)
        corners = np.stack([np.repeat(across, 2)[1:-1], np.repeat(heights, 2)], 1)
        outline = np.rint(np.concatenate([[[LEFT, BOTTOM]], corners, [[RIGHT, BOTTOM]]])).astype(np.int32)
        filled = cv2.fillPoly(panel.copy(), [outline], COLOURS[kind])
        panel = cv2.addWeighted(filled, 0.35, panel, 0.65, 0)
        cv2.polylines(panel, [outline], False, COLOURS[kind], 2, cv2.LINE_AA)
    cv2.line(panel, (LEFT, BOTTOM), (RIGHT, BOTTOM), (60, 60, 60), 1)
    for value in np.arange(LOWEST, 1.01, 0.25):
        x = round((value - LOWEST) / (1 - LOWEST) * (RIGHT - LEFT) + LEFT)
        cv2.line(panel, (x, BOTTOM), (x, BOTTOM + 4), (60, 60, 60), 1)
        _write(panel, f"{value:.2f}", (x - 16, BOTTOM + 20), (60, 60, 60))
    _write(panel, f"{name}: similarity of pairs", (LEFT, 20), (30, 30, 30))
    for row, (kind, value) in enumerate(found.peaks().items()):
        _write(panel, f"{kind}, peak {value:.2f}", (330 + 140 * row, 20), COLOURS[kind])
    return panel


def draw_saliency(maps: Mapping[str, tuple[np.ndarray, np.ndarray, float]], path: Path, side_px: int = 224) -> None:
    """Mean crop beside each encoder's map (crop, map, share outside the inner face), one scale for all maps."""
    top = max(float(found.max()) for _, found, _ in maps.values())
    tiles = []
    for name, (crop, found, share) in maps.items():
        large = cv2.resize(crop[..., ::-1], (side_px, side_px), interpolation=cv2.INTER_CUBIC)
        heat = np.rint(np.clip(found / max(top, 1e-9), 0, 1) * 255).astype(np.uint8)
        heat = cv2.applyColorMap(cv2.resize(heat, (side_px, side_px)), cv2.COLORMAP_VIRIDIS)
        tile = np.full((side_px + 26, 2 * side_px, 3), 255, np.uint8)
        tile[26:] = np.concatenate([large, cv2.addWeighted(large, 0.35, heat, 0.65, 0)], 1)
        _write(tile, f"{name}: {100 * share:.0f} % outside the inner face", (6, 18), (30, 30, 30))
        tiles.append(tile)
    _save(path, np.concatenate(tiles, 1))


def _write(picture: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def _save(path: Path, picture: np.ndarray) -> None:
    ok, data = cv2.imencode(".png", picture)
    if not ok:
        raise SamaeError(f"the figure {path} cannot be written as PNG")
    write_bytes(path, data.tobytes())

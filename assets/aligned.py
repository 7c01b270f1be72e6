"""aligned_faces: every accepted photograph at the working size, with its landmarks moved along."""

from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np

from assets.common import batches, contact_sheet, make_folders
from assets.graph import STAGES
from assets.parts import Parts
from assets.ports import Pool, Samae
from assets.tables import OK, accepted, matrix, read_rows, write_array, write_rows
from faces.records import decode_colour

#: Columns of raw_faces that travel on with the picture.
CARRIED = ("key", "file_path", "licence", "person", "synthetic")


@dg.asset(**STAGES["aligned_faces"].spec())
def aligned_faces(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """FFHQ photographs are crops already: resize them, and scale the landmarks (pixel centres at halves) with them."""
    store, size_px = samae.store, samae.plan.working_px
    report = samae.progress(context, "aligned_faces")

    def make(partition: str, folder: Path, done: Parts) -> dict[str, Any]:
        """Resize the accepted photographs of one folder."""
        rows = accepted(read_rows(store.folder("raw_faces", partition)))
        tasks = [([store.raw / path for path in part], size_px) for part in batches(rows["file_path"].to_pylist(), 64)]
        images = np.concatenate(
            done.map(pool, resize_photographs, tasks, report) or [np.zeros((0, size_px, size_px, 3), np.uint8)]
        )
        scale = size_px / np.asarray(rows["size_px"], np.float32)
        landmarks = scaled(matrix(rows, "landmarks_px"), scale)
        columns = {name: rows[name].to_pylist() for name in CARRIED}
        columns |= {"status": [OK] * len(rows), "reason": [""] * len(rows), "landmarks_px": landmarks}
        write_rows(folder, columns)
        write_array(folder, "images", images)
        return {"faces": len(rows), "size_px": size_px, "preview": contact_sheet(images)}

    return make_folders(context, samae, "aligned_faces", make)


def scaled(landmarks_px: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(N, 136) landmarks of pictures that grow by `scale` (N,): with centres at halves this is one multiplication."""
    return (landmarks_px * scale[:, None]).astype(np.float32)


def resize_photographs(task: tuple[list[Path], int]) -> np.ndarray:
    """(paths, size_px) -> (N, size_px, size_px, 3) uint8 RGB. Runs in a worker."""
    paths, size_px = task
    return np.stack([resize(decode_colour(path.read_bytes()), size_px) for path in paths])


def resize(image: np.ndarray, size_px: int) -> np.ndarray:
    """(H, H, 3) or (H, H) uint8 -> the same picture `size_px` wide; area averages when it shrinks."""
    if image.shape[0] == size_px:
        return image
    way = cv2.INTER_AREA if size_px < image.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(image, (size_px, size_px), interpolation=way)

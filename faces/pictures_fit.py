"""Pictures of docs/: fits drawn over photographs, masks, perforation confusion. `python -m faces.pictures_fit`."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faces.camera import Camera
from faces.files import atomic_file, make_folder
from faces.fitting import Fit, fit
from faces.masks import (
    OccluderSettings,
    PerforationSettings,
    face_mask,
    feather,
    mesh_scales,
    perforate,
    silhouette,
    swap_mask,
)  # fmt: skip
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.pictures_photograph import astronaut
from faces.render.mesh_image import posed_vertices, render_mesh
from faces.render.rasterize import rasterize
from faces.treatment import PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS

SIZE_PX = 256
#: Seed of the people shown, and which of its pictures: glasses, hair over the face, dark and light skin, turned heads.
SEED = 977
GAP_PX = 4
#: What covers the faces of occluders.jpg, over PLAIN.
PLAIN: dict[str, Any] = {"glasses": "none", "occluder": "none", "hair_style": "short"}
COVERED: tuple[dict[str, Any], ...] = (
    {"hair_style": "fringe"}, {"hair_style": "curly"}, {"glasses": "square"}, {"glasses": "sunglasses"},
    {"occluder": "hand"}, {"occluder": "strand", "hair_style": "long_wavy"},
)  # fmt: skip


def draw_pictures(out_dir: Path, count: int = 6) -> list[Path]:
    """Write fits, masks, occluders, perforation and photograph.jpg (each below 400 kB) into out_dir; their paths."""
    from faces.synthetic.pictures import render_picture

    head = load_head("builtin")
    portraits = [render_picture(SEED, index, 96, SIZE_PX) for index in range(count)]
    images = np.stack([p.image for p in portraits])
    landmarks = np.stack([p.landmarks_px for p in portraits])
    found = fit(images, landmarks, head, SIZE_PX)
    sheets = {
        "fits.jpg": fit_rows(images, landmarks, found, head),
        "masks.jpg": mask_rows(images, landmarks, found.coefficients, head),
        "occluders.jpg": occluder_rows(head),
        "perforation.jpg": perforation_rows(images, found.coefficients, head),
        "photograph.jpg": photograph_row(head),
    }
    make_folder(out_dir)
    return [write_jpeg(out_dir / name, sheet(rows)) for name, rows in sheets.items()]


def fit_rows(images: np.ndarray, landmarks: np.ndarray, found: Fit, head: MorphableHead) -> list[np.ndarray]:
    """Photograph with landmarks; the fitted mesh over it; the fitted render in own albedo and light; in mean albedo."""
    own = render_mesh(head, found.coefficients, Camera.centred(SIZE_PX), "own")
    mean = render_mesh(head, found.coefficients, Camera.centred(SIZE_PX), "mean")
    dots = np.stack([with_dots(i, p) for i, p in zip(images, landmarks, strict=True)])
    mesh = mesh_overlay(images, found.coefficients, head)
    return [dots, mesh, pasted(images, own.image, own.mask), to_uint8(mean.image)]


def photograph_row(head: MorphableHead) -> list[np.ndarray]:
    """A real photograph with its hand-set landmarks, the mesh, the render over it, the visible face."""
    image, landmarks = astronaut(SIZE_PX)
    images, points = image[None], landmarks[None]
    found = fit(images, points, head, SIZE_PX, PHOTOGRAPH_FIT)
    visible = face_mask(images, found.coefficients, head, PHOTOGRAPH_OCCLUDERS) / np.float32(255)
    dots, mesh, own, _ = fit_rows(images, points, found, head)
    return [np.concatenate([images, dots, mesh, own, tinted(images, visible)])]


def mask_rows(
    images: np.ndarray, landmarks: np.ndarray, coefficients: np.ndarray, head: MorphableHead
) -> list[np.ndarray]:
    """Photograph; the visible face (silhouette minus occluders); the mask of a swap with the neighbour's shape."""
    visible = face_mask(images, coefficients, head) / np.float32(255)
    whole = silhouette(coefficients, head, SIZE_PX)
    neighbour = silhouette(exchanged(coefficients, head), head, SIZE_PX)
    swap = swap_mask(visible, neighbour, np.clip(whole - visible, 0, 1), landmarks_px=landmarks)
    soft = feather(swap, 6.0)
    return [images, tinted(images, visible), outlined(images, whole, neighbour, swap), tinted(images, soft)]


def occluder_rows(head: MorphableHead) -> list[np.ndarray]:
    """Faces behind things; the visible face by the residual, by the network, and in truth."""
    from faces.synthetic.person import person_from_seed
    from faces.synthetic.portrait import render_person
    from faces.synthetic.scene import scene_from_seed

    portraits = []
    for index, changes in enumerate(COVERED):
        person = person_from_seed(SEED, index)
        scene = replace(scene_from_seed(SEED, index, person), **(PLAIN | changes))
        portraits.append(render_person(person, scene, SIZE_PX))
    images = np.stack([p.image for p in portraits])
    found = fit(images, np.stack([p.landmarks_px for p in portraits]), head, SIZE_PX).coefficients
    shown = [face_mask(images, found, head, OccluderSettings(method=way)) for way in ("residual", "network")]
    shown.append(np.stack([p.mask for p in portraits]))
    return [images, *(tinted(images, masks / np.float32(255)) for masks in shown)]


def perforation_rows(images: np.ndarray, coefficients: np.ndarray, head: MorphableHead) -> list[np.ndarray]:
    """What the generator sees in four draws: the picture without the perforated mask, the face's own outline drawn in;
    and below them the mesh at four random scales."""
    visible = face_mask(images, coefficients, head) / np.float32(255)
    other = silhouette(exchanged(coefficients, head), head, SIZE_PX)
    rng = np.random.default_rng(4)
    rows = []
    for _ in range(4):
        mask = perforate(visible, other, rng, PerforationSettings())
        holed = to_uint8(images / 255.0 * (1 - mask[..., None]) + 0.5 * mask[..., None])
        rows.append(outlined(holed, visible))
    scales = mesh_scales(rng.random((len(images), 2)))
    shown = render_mesh(head, coefficients, Camera.centred(SIZE_PX), "mean", scale=scales)
    return [images, *rows, outlined(to_uint8(shown.image), visible)]


def exchanged(coefficients: np.ndarray, head: MorphableHead) -> np.ndarray:
    """Every face with its neighbour's identity: (N, D) -> (N, D)."""
    mixed = coefficients.copy()
    where = head.layout.slices["identity"]
    mixed[:, where] = np.roll(coefficients[:, where], 1, axis=0)
    return mixed


def to_uint8(image: np.ndarray) -> np.ndarray:
    """sRGB 0..1 -> uint8."""
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def with_dots(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The picture with its landmarks as small dots."""
    canvas = image.copy()
    for u, v in points:
        place = (round((u - 0.5) * 16), round((v - 0.5) * 16))
        cv2.circle(canvas, place, 26, (20, 20, 20), -1, cv2.LINE_AA, 4)
        cv2.circle(canvas, place, 18, (90, 230, 120), -1, cv2.LINE_AA, 4)
    return canvas


def mesh_overlay(images: np.ndarray, coefficients: np.ndarray, head: MorphableHead) -> np.ndarray:
    """The visible edges of the face's triangles over each photograph."""
    fine = 4 * SIZE_PX
    vertices_px, _ = posed_vertices(head, coefficients, Camera.centred(fine))
    out = []
    for image, vertices in zip(images, vertices_px, strict=True):
        raster = rasterize(vertices[None], head.triangles, fine, fine)
        shown = head.face_triangles[raster.triangle[0]] & raster.covered[0]
        near = (raster.barycentric[0].min(-1) < 0.10) & shown
        line = near.reshape(SIZE_PX, 4, SIZE_PX, 4).mean((1, 3))[..., None] * 0.55
        out.append(to_uint8(image / 255.0 * (1 - line) + np.array([0.35, 0.9, 1.0]) * line))
    return np.stack(out)


def pasted(images: np.ndarray, render: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A render over photographs."""
    return to_uint8(images / 255.0 * (1 - mask[..., None]) + render * mask[..., None])


def tinted(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The photographs, dark and grey where the mask is 0."""
    grey = images.mean(-1, keepdims=True) / 255.0 * 0.35
    return to_uint8(images / 255.0 * masks[..., None] + grey * (1 - masks[..., None]))


def outlined(images: np.ndarray, *masks: np.ndarray) -> np.ndarray:
    """The photographs with the outline of each mask: yellow, blue, red."""
    out = images.copy()
    for masks_of_one, colour in zip(masks, ((255, 214, 64), (80, 170, 255), (255, 80, 80)), strict=False):
        for canvas, mask in zip(out, masks_of_one, strict=True):
            large = cv2.resize(mask, None, fx=1, fy=1)
            contours, _ = cv2.findContours((large >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(canvas, contours, -1, colour, 1, cv2.LINE_AA)
    return out


def sheet(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of (N, S, S, 3) pictures -> one picture with thin white gaps."""
    pad = ((0, 0), (0, GAP_PX), (0, GAP_PX), (0, 0))
    padded = [np.pad(row, pad, constant_values=255) for row in rows]
    return np.concatenate([np.concatenate(list(row), 1) for row in padded])[:-GAP_PX, :-GAP_PX]


def write_jpeg(path: Path, picture: np.ndarray) -> Path:
    """Write a JPEG of at most 400 kB: the best quality that fits."""
    for quality in (92, 88, 84, 78, 70, 60):
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= 400_000:
            break
    with atomic_file(path) as scratch:
        scratch.write_bytes(data.tobytes())
    return path


def main() -> None:
    """Draw the pictures into the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    for path in draw_pictures(parser.parse_args().out):
        print(path)


if __name__ == "__main__":
    main()

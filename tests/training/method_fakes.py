"""A tiny head, a tiny encoder and a tiny batch: what the tests of methods, losses and exports share."""

from functools import lru_cache

import numpy as np
import torch

from faces.camera import Camera
from faces.identity.encoder import TorchEncoder
from faces.identity.iresnet import IResNet, IResNetConfig
from faces.masks import silhouette
from faces.morphable.base import MorphableHead
from faces.render.mesh_image import posed_vertices
from training.batch import FaceBatch

SIZE_PX = 32
TINY = [
    f"size_px={SIZE_PX}",
    "generator.width=8",
    "generator.multipliers=[1, 2]",
    "generator.condition_width=16",
    "generator.attention_px=[8]",
    "generator.blocks=1",
    "losses.feature_stride=1",
    "train.precision=fp32",
    "train.batch_size=8",
    "discriminator.width=8",
    "discriminator.layers=3",
]


@lru_cache(maxsize=2)
def tiny_head(seed: int = 0) -> MorphableHead:
    """An egg of about 300 vertices with a face region in front, 4 identity, 2 expression and 2 albedo modes."""
    rng = np.random.default_rng(seed)
    rows, columns = 14, 22
    polar = np.pi * (np.arange(rows) + 0.5) / rows
    around = 2 * np.pi * np.arange(columns) / columns
    p, a = (grid.ravel() for grid in np.meshgrid(polar, around, indexing="ij"))
    mean = np.stack([70 * np.sin(p) * np.sin(a), 100 * np.cos(p) - 25, 80 * np.sin(p) * np.cos(a) - 60], -1)
    r, c = (grid.ravel() for grid in np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij"))
    corner, right = r * columns + c, r * columns + (c + 1) % columns
    triangles = np.concatenate(
        [np.stack([corner, corner + columns, right + columns], -1), np.stack([corner, right + columns, right], -1)]
    )
    width = np.stack([mean[:, 0] * 0.15, np.zeros(len(mean)), np.zeros(len(mean))], -1)
    identity = np.concatenate([width[None], rng.normal(0, 1.0, (3, len(mean), 3))])
    plan = np.stack([np.linspace(-45, 45, 68), np.linspace(30, -80, 68)[rng.permutation(68)]], 1)
    plan[[36, 37, 38, 39, 40, 41]] = [-30, 0]
    plan[[42, 43, 44, 45, 46, 47]] = [30, 0]
    plan[30], plan[48], plan[54] = [0, -35], [-25, -65], [25, -65]
    front = np.flatnonzero(mean[:, 2] > -60)
    nearest = ((mean[front, None, :2] - plan[None]) ** 2).sum(-1).argmin(0)
    return MorphableHead(
        edition="tiny-1", digest=f"{seed:016x}", licence="Apache-2.0", mean_mm=mean.astype(np.float32),
        identity_mm=identity.astype(np.float32), expression_mm=rng.normal(0, 0.5, (2, len(mean), 3)).astype(np.float32),
        expression_names=("one", "two"), albedo_mean=np.tile(np.float32([0.5, 0.35, 0.3]), (len(mean), 1)),
        albedo_modes=rng.normal(0, 0.02, (2, len(mean), 3)).astype(np.float32), triangles=triangles.astype(np.int32),
        uv=np.stack([a, p], 1).astype(np.float32), parts=np.zeros(len(triangles), np.int8), part_names=("skin",),
        landmarks=front[nearest].astype(np.int32), eye_left=np.zeros(0, np.int64), eye_right=np.zeros(0, np.int64),
        face_region=mean[:, 2] > -40,
    )  # fmt: skip


@lru_cache(maxsize=1)
def tiny_encoder() -> TorchEncoder:
    """An untrained IResNet of a few thousand numbers."""
    torch.manual_seed(1)
    network = IResNet(IResNetConfig(depth=10, width=8, dim=16, crop_px=32, head="depthwise"))
    return TorchEncoder(network, "tiny", "f" * 16, "Apache-2.0")


def tiny_batch(count: int = 8, seed: int = 0, people: int = 4) -> FaceBatch:
    """`count` smooth pictures whose masks, landmarks and coefficients agree; neighbours are one person."""
    rng, head = np.random.default_rng(seed), tiny_head()
    coefficients = head.layout.pack(
        identity=rng.normal(size=(count, 4)),
        expression=rng.uniform(0, 1, (count, 2)),
        rotation_rad=rng.normal(0, 0.1, (count, 3)),
        translation_mm=np.tile([0, 0, 1100.0], (count, 1)),
        light=np.tile(np.eye(1, 9)[0] * 0.8, (count, 3)),
    )
    vertices_px, _ = posed_vertices(head, coefficients, Camera.centred(SIZE_PX))
    mask = torch.from_numpy(silhouette(coefficients, head, SIZE_PX))[:, None]
    noise = torch.from_numpy(rng.uniform(0, 1, (count, 3, 4, 4)).astype(np.float32))
    image = torch.nn.functional.interpolate(noise, size=SIZE_PX, mode="bilinear", align_corners=False)
    embedding = torch.from_numpy(rng.normal(size=(count, 16)).astype(np.float32))
    return FaceBatch(
        image=image,
        mask=mask,
        coefficients=torch.from_numpy(coefficients),
        embedding=torch.nn.functional.normalize(embedding, dim=1),
        skin=torch.from_numpy(rng.uniform(0.2, 0.6, (count, 3)).astype(np.float32)),
        landmarks=torch.from_numpy(vertices_px[:, head.landmarks, :2].astype(np.float32)),
        person=torch.arange(count) * people // count,
        keys=tuple(f"{row:05d}" for row in range(count)),
    )

"""The model card says what a version was made of, under which terms, how good it is, and where it must not be used."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.cards import model_card
from assets.plan import Plan
from assets.store import Store
from assets.tables import write_rows
from evaluation.evaluation import Evaluation, MetricInfo
from evaluation.pairs import PairList
from faces.errors import SamaeError
from faces.files import read_manifest, write_json
from faces.morphable.registry import load_head
from training.config import load_recipe
from training.export import EmbeddingOnly, export_model
from training.methods.base import build_method
from training.weights import find_weights

SMALL = ["size_px=32", "generator.width=8", "generator.multipliers=[1, 2]", "generator.blocks=1"]
BARE = [f"losses.{name}=0" for name in ("perceptual", "identity", "adversarial", "feature_matching")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A home with two photographs under two licences, one refused, and an export that began with shipped weights."""
    store = Store(tmp_path_factory.mktemp("home"), "set", tmp_path_factory.mktemp("raw"))
    listing = {str(index): {"image": {"file_path": f"images/00000/0000{index}.png"}} for index in range(3)}
    write_json(store.raw / "ffhq-dataset-v2.json", listing)
    for name in ("photographs", "raw_faces"):
        with store.write(name, None if name == "photographs" else "00000", {}) as (folder, _):
            write_rows(
                folder,
                {"key": ["0", "1", "2"], "status": ["ok", "ok", "rejected"], "licence": ["CC BY 2.0", "CC0", "secret"]},
            )
    encoder: Any = EmbeddingOnly("builtin", 256)
    method = build_method(load_recipe("simswap", SMALL + BARE), load_head("builtin"), encoder, torch.device("cpu"))
    with store.write("swap_model", "simswap", {}) as (folder, _):
        origin = find_weights("samae-people").origin()
        export_model(
            method,
            folder / "export",
            {"samples_seen": 3000, "data_digest": "d" * 16, "init_from": origin, "perceptual": "vgg16"},
        )
    return store


def judged() -> Evaluation:
    """Two figures of 20 pairs, one with its interval and a baseline, one that could not be said."""
    keys = tuple(str(index) for index in range(20))
    names = ("identity_similarity", "pose_error")
    known = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 18, "failed": 2}
    lost = {"mean": math.nan, "low": math.nan, "high": math.nan, "n": 0, "failed": 20}
    infos = tuple(MetricInfo(name, name, "", "higher", "") for name in names)
    summary = dict(zip(names, (known, lost), strict=True))
    beside = {"copy-target": {"identity_similarity": known | {"mean": 0.1}}}
    pairs = PairList("test", "one", 0, "d", keys, keys)
    rows: Any = np.zeros(0)
    return Evaluation("simswap", pairs, rows, infos, summary, beside, {}, {})


def test_the_card_names_digests_terms_figures_and_the_way_back(store: Store) -> None:
    plan = Plan(raw=store.raw, recipes=("simswap",), pairs=20, overrides=("train.batch_size=4",))
    card = model_card(plan, store, "simswap", judged())
    export = store.folder("swap_model", "simswap") / "export"
    for digest in (
        read_manifest(export).files["model.safetensors"][1],
        store.digest("photographs"),
        load_head("builtin").digest,
        find_weights("samae-people").sha256,
    ):
        assert digest in card
    for line in (
        "| photographs (1) | CC BY 2.0 |",
        "| photographs (1) | CC0 |",
        "| VGG-16 (perceptual loss) | BSD-3-Clause (torchvision) |",
        "| starting weights samae-people | Apache-2.0 (comes with Samae) |",
        "| identity_similarity, higher is better | 0.500 [0.400, 0.600] | 0.100 | 2 |",
        "| pose_error, higher is better | – | – | 20 |",
        "SAMAE_OVERRIDES='train.batch_size=4' SAMAE_PAIRS='20' samae train --recipe simswap",
        "never saw, 95 % intervals",
        "Trained without an adversarial loss",
    ):
        assert line in card
    assert "secret" not in card


def test_a_model_of_generated_people_says_that_it_never_saw_a_real_one(store: Store) -> None:
    drawn = Store(store.home, "people-8x64", store.raw)
    card = model_card(Plan(photographs=8), drawn, "simswap", judged())
    assert "generated people alone" in card
    assert "SAMAE_PHOTOGRAPHS='8'" in card


def test_a_card_needs_the_export(tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match=r"config\.json does not exist"):
        model_card(Plan(), Store(tmp_path, "set"), "samae", judged())

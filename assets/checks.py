"""Asset checks: what must hold of what was made. They show on the page; the promotion reads the gate itself."""

import json
from collections import Counter

import dagster as dg
import numpy as np

from assets.aligned import aligned_faces
from assets.common import counts_table
from assets.evaluation import champion, read_kept, swap_evaluation
from assets.geometry import face_coefficients, face_masks, neutral_albedo
from assets.identity import identity_embeddings
from assets.models import EXPORT, swap_model
from assets.ports import Samae
from assets.raw import REASONS, raw_faces
from assets.shards import training_shards
from assets.tables import COLUMNS, OK, accepted, matrix, read_rows
from faces.files import read_json

#: Limits (ours). The fit's is three times what generated people give.
#: Kind of reason -> percent of a folder's photographs. What licences and the deny-list leave out has no limit.
MOST_REJECTED_PERCENT = {"damage": 1.0, "listing": 1.0, "content": 10.0}
MOST_BAD_FITS = 0.20
WORST_NME_PERCENT = 6.0
WARN = dg.AssetCheckSeverity.WARN


def _share_rejected(samae: Samae, asset: str, partitions: list[str]) -> tuple[int, float]:
    tables = [read_rows(samae.store.folder(asset, name)) for name in partitions]
    total, good = sum(map(len, tables)), sum(len(accepted(table)) for table in tables)
    return total, 1 - good / total if total else 1.0


@dg.asset_check(asset=raw_faces, partitions_def=raw_faces.partitions_def)
def few_photographs_rejected(
    context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]
) -> dg.AssetCheckResult:
    """Each kind of reason (assets/raw.py) stays below its limit; all reasons with their counts are on the page."""
    tables = [read_rows(samae.store.folder("raw_faces", name)) for name in context.partition_keys]
    counts = Counter(reason for table in tables for reason in table["reason"].to_pylist())
    total, rejected = counts.total(), counts.total() - counts[""]
    percent = reject_percents(counts)
    return dg.AssetCheckResult(
        passed=total > 0 and all(percent[kind] <= limit for kind, limit in MOST_REJECTED_PERCENT.items()),
        severity=WARN,
        metadata={
            "photographs": total,
            "rejected_percent": 100 * rejected / max(total, 1),
            "reasons": counts_table(dict(counts)),
            **{f"{kind}_percent": percent[kind] for kind in percent},
            **{f"{kind}_limit_percent": limit for kind, limit in MOST_REJECTED_PERCENT.items()},
        },
    )


def reject_percents(counts: Counter[str]) -> dict[str, float]:
    """Reason -> count ("" is good) to kind of reason -> percent of all photographs."""
    kinds: Counter[str] = Counter()
    for reason, count in counts.items():
        kinds[REASONS.get(reason, "other")] += count if reason else 0
    return {kind: 100 * kinds[kind] / max(counts.total(), 1) for kind in (*MOST_REJECTED_PERCENT, "policy")}


@dg.asset_check(asset=face_coefficients, partitions_def=face_coefficients.partitions_def)
def fits_are_good(context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.AssetCheckResult:
    """At most one face in five is refused, and the landmarks of the others lie where they should."""
    partitions = list(context.partition_keys)
    total, share = _share_rejected(samae, "face_coefficients", partitions)
    tables = [accepted(read_rows(samae.store.folder("face_coefficients", name))) for name in partitions]
    errors = np.concatenate([np.asarray(table["landmark_nme_percent"]) for table in tables])
    if not len(errors):
        told = f"none of {total} faces could be fitted; the column reason of rows.parquet says why"
        told = told if total else "no face came this far: see why raw_faces and aligned_faces refused every photograph"
        return dg.AssetCheckResult(
            passed=False, severity=WARN, description=told, metadata={"faces": total, "rejected_percent": 100 * share}
        )
    worst = float(np.percentile(errors, 90))
    return dg.AssetCheckResult(
        passed=share <= MOST_BAD_FITS and worst <= WORST_NME_PERCENT,
        severity=WARN,
        metadata={"faces": total, "rejected_percent": 100 * share, "landmark_nme_p90_percent": worst},
    )


def _schema_check(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """rows.parquet of `asset` has known columns, each of its type, one row a key, and a known status."""

    @dg.asset_check(asset=asset, name="schema_is_right", partitions_def=asset.partitions_def, blocking=True)
    def schema_is_right(context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.AssetCheckResult:
        """Every column of the rows is one of assets/tables.py, with its type."""
        wrong = []
        for partition in context.partition_keys:
            table = read_rows(samae.store.folder(asset.key.to_user_string(), partition))
            wrong += [f.name for f in table.schema if f.name not in COLUMNS or f.type != COLUMNS[f.name][0]]
            keys = table["key"].to_pylist()
            wrong += ["key is not unique"] if len(set(keys)) != len(keys) else []
            wrong += ["status"] if not set(table["status"].to_pylist()) <= {OK, "rejected"} else []
        return dg.AssetCheckResult(passed=not wrong, metadata={"wrong": ", ".join(wrong) or "nothing"})

    return schema_is_right


@dg.asset_check(asset=face_masks, partitions_def=face_masks.partitions_def)
def faces_fill_their_pictures(
    context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]
) -> dg.AssetCheckResult:
    """The visible face covers 5 to 60 percent of the picture in nine of ten."""
    tables = [accepted(read_rows(samae.store.folder("face_masks", name))) for name in context.partition_keys]
    coverage = np.concatenate([np.asarray(table["coverage"]) for table in tables])
    share = float(np.mean((coverage > 0.05) & (coverage < 0.60))) if len(coverage) else 0.0
    return dg.AssetCheckResult(passed=share >= 0.9, severity=WARN, metadata={"inside_percent": 100 * share})


@dg.asset_check(asset=identity_embeddings, partitions_def=identity_embeddings.partitions_def)
def embeddings_have_unit_length(
    context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]
) -> dg.AssetCheckResult:
    """Every embedding is finite and of length one."""
    tables = [read_rows(samae.store.folder("identity_embeddings", name)) for name in context.partition_keys]
    lengths = np.concatenate([np.linalg.norm(matrix(table, "embedding"), axis=1) for table in tables])
    furthest = float(np.abs(lengths - 1).max()) if len(lengths) else 0.0
    return dg.AssetCheckResult(passed=bool(furthest < 1e-3), metadata={"furthest_from_one": furthest})


@dg.asset_check(asset=training_shards, blocking=True)
def shards_match_their_hashes(samae: dg.ResourceParam[Samae]) -> dg.AssetCheckResult:
    """Every file of the set has the SHA-256 of its manifest, and no split is empty."""
    from training.shards import ShardSet

    folder = samae.store.folder("training_shards")
    samae.store.manifest("training_shards").verify(folder, hashes=True)
    shards = ShardSet.open(folder)
    counts = {split: len(shards.keys(split)) for split in ("train", "validation", "test")}
    shards.close()
    return dg.AssetCheckResult(passed=all(counts.values()), metadata=counts)


@dg.asset_check(asset=swap_model, partitions_def=swap_model.partitions_def, blocking=True)
def weights_are_finite(context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.AssetCheckResult:
    """No number of the exported weights is NaN or infinite."""
    from safetensors import safe_open

    bad, count = [], 0
    for recipe in context.partition_keys:
        with safe_open(samae.store.folder("swap_model", recipe) / EXPORT / "model.safetensors", "np") as weights:
            for name in weights.keys():  # noqa: SIM118 (safe_open is no mapping)
                values = weights.get_tensor(name)
                count += values.size
                bad += [f"{recipe}/{name}"] if not np.isfinite(values.astype(np.float32)).all() else []
    return dg.AssetCheckResult(passed=not bad, metadata={"parameters": int(count), "bad": ", ".join(bad) or "none"})


@dg.asset_check(asset=swap_model, partitions_def=swap_model.partitions_def)
def no_early_warning(context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.AssetCheckResult:
    """The last snapshot of training warned of nothing: target copied, mode collapse, discriminator won."""
    found: dict[str, str] = {}
    for recipe in context.partition_keys:
        run = samae.store.metadata("swap_model", recipe).get("run", "")
        path = samae.store.runs / str(run) / "warnings.json"
        if run and path.is_file():
            found |= {f"{recipe}.{name}": sentence for name, sentence in read_json(path)["warnings"].items()}
    return dg.AssetCheckResult(passed=not found, severity=WARN, metadata=found or {"warnings": "none"})


@dg.asset_check(asset=swap_evaluation, partitions_def=swap_evaluation.partitions_def)
def does_not_copy_the_target(
    context: dg.AssetCheckExecutionContext, samae: dg.ResourceParam[Samae]
) -> dg.AssetCheckResult:
    """Results look more like the source, and less like the target, than a copy of the target does."""
    passed, metadata = True, {}
    for recipe in context.partition_keys:
        evaluation = read_kept(samae.store, recipe)
        copy = evaluation.baselines["copy-target"]
        for name, sign in (("identity_similarity", 1), ("identity_leak", -1)):
            gain = sign * (evaluation.summary[name]["mean"] - copy[name]["mean"])
            metadata[f"{recipe}.{name}_gain"] = float(gain)
            passed &= bool(gain > 0)
    return dg.AssetCheckResult(passed=passed, severity=WARN, metadata=metadata)


@dg.asset_check(asset=champion)
def gate_verdict(samae: dg.ResourceParam[Samae]) -> dg.AssetCheckResult:
    """What the gate said; a refusal is shown as a warning, the champion stays."""
    outcome = json.loads((samae.store.folder("champion") / "verdict.json").read_text())
    reasons = dict.fromkeys(reason for verdict in outcome["verdicts"] for reason in verdict["reasons"])
    kept = not outcome["verdicts"]
    return dg.AssetCheckResult(
        passed=bool(outcome["promoted"]) or kept,
        severity=WARN,
        metadata={"promoted": outcome["promoted"] or "nobody", "reasons": "\n".join(reasons) or "the champion stays"},
    )


FOLDER_ASSETS = (raw_faces, aligned_faces, face_coefficients, neutral_albedo, face_masks, identity_embeddings)
ALL_CHECKS = [
    *(_schema_check(asset) for asset in FOLDER_ASSETS),
    few_photographs_rejected,
    fits_are_good,
    faces_fill_their_pictures,
    embeddings_have_unit_length,
    shards_match_their_hashes,
    weights_are_finite,
    no_early_warning,
    does_not_copy_the_target,
    gate_verdict,
]

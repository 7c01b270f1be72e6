"""Jobs: prepare the data, and the whole retraining from shards to champion."""

import dagster as dg

from assets.partitions import folder_partitions, recipe_partitions

FOLDER_ASSETS = (
    "raw_faces",
    "aligned_faces",
    "face_coefficients",
    "neutral_albedo",
    "face_masks",
    "identity_embeddings",
)

#: Which photographs there are.
find_photographs = dg.define_asset_job(
    "find_photographs",
    selection=dg.AssetSelection.assets("photographs"),
    description="Generate the people, or find the folder of photographs, and register its folders.",
)

#: One folder of photographs, from raw to embeddings.
prepare_folder = dg.define_asset_job(
    "prepare_folder",
    selection=dg.AssetSelection.assets(*FOLDER_ASSETS),
    partitions_def=folder_partitions,
    description="One folder of photographs: verified, aligned, fitted, masked, embedded.",
)

#: One recipe: train and judge.
train_recipe = dg.define_asset_job(
    "train_recipe",
    selection=dg.AssetSelection.assets("swap_model", "swap_evaluation"),
    partitions_def=recipe_partitions,
    description="Train one recipe on today's shards and judge it.",
    tags={"dagster/max_runtime": str(7 * 24 * 3600)},
)

#: The set of photographs and the shards made of all folders.
make_shards = dg.define_asset_job(
    "make_shards",
    selection=dg.AssetSelection.assets("training_shards"),
    description="The training set out of every prepared folder.",
)

#: Compare and promote.
promote = dg.define_asset_job(
    "promote",
    selection=dg.AssetSelection.assets("leaderboard", "champion"),
    description="Report on all recipes; the best one becomes champion if the gate lets it.",
)

ALL_JOBS = [find_photographs, prepare_folder, make_shards, train_recipe, promote]

"""The code location: every asset, check, job, schedule, sensor and resource. Loaded by workspace.yaml and by `dg`."""

import dagster as dg

from assets.aligned import aligned_faces
from assets.automation import as_promised
from assets.checks import ALL_CHECKS
from assets.evaluation import champion, leaderboard, swap_evaluation
from assets.geometry import face_coefficients, face_masks, neutral_albedo
from assets.identity import identity_embeddings, identity_encoder
from assets.models import swap_model
from assets.raw import photographs, raw_faces
from assets.shards import training_shards
from pipelines.jobs import ALL_JOBS
from pipelines.logs import write_json_lines
from pipelines.resources import all_resources
from pipelines.schedules import weekly_retraining
from pipelines.sensors import follow_up, new_folders, remake_overtaken, tell_failures
from pipelines.settings import load_settings

SETTINGS = load_settings()
if SETTINGS.log_json:
    write_json_lines()

ALL_ASSETS = [
    photographs,
    raw_faces,
    aligned_faces,
    face_coefficients,
    neutral_albedo,
    face_masks,
    identity_embeddings,
    identity_encoder,
    training_shards,
    swap_model,
    swap_evaluation,
    leaderboard,
    champion,
]

defs = dg.Definitions(
    assets=as_promised(ALL_ASSETS, SETTINGS.weekly),
    asset_checks=ALL_CHECKS,
    jobs=ALL_JOBS,
    schedules=[weekly_retraining],
    sensors=[new_folders, follow_up, remake_overtaken, tell_failures],
    loggers={"console": dg.json_console_logger if SETTINGS.log_json else dg.colored_console_logger},
    resources=all_resources(SETTINGS),
    executor=dg.in_process_executor,
)

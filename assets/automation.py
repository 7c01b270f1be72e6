"""When assets are made without anybody asking: every condition and freshness policy of the graph, in this one place.

What follows from what by provenance (folders, shards, first trainings, promotion) is pipelines/sensors.py's, and
retraining is pipelines/schedules.py's; both read the same provenance as `samae demo`. The conditions here say by
Dagster's records what was overtaken by new code or by new materialisations above it; they are switched on by hand.
"""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

#: A prepared folder is made again when the asset's code version changed or an input of it was made anew, once its
#: inputs are whole, passed their blocking checks, and nothing of it is under way.
OVERTAKEN = (
    (dg.AutomationCondition.code_version_changed() | dg.AutomationCondition.any_deps_updated())
    .since_last_handled()
    .with_label("overtaken by code or input")
    & ~dg.AutomationCondition.missing()
    & ~dg.AutomationCondition.any_deps_missing()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
)

#: Stages that are remade by the condition above; raw_faces is the sensor's, everything after the shards follows from
#: provenance.
CONDITIONS: dict[str, dg.AutomationCondition] = dict.fromkeys(
    ("aligned_faces", "face_coefficients", "neutral_albedo", "face_masks", "identity_embeddings"), OVERTAKEN
)

#: While the weekly schedule is on (pipelines/definitions.py), a week without it, or without what it asked for, shows on
#: the page: yellow after eight days, red after fifteen. Each Monday that finds an asset up to date counts as made.
WEEKLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=15), warn_window=timedelta(days=8))
FRESHNESS: dict[str, dg.FreshnessPolicy] = {"leaderboard": WEEKLY, "champion": WEEKLY}


def as_promised(assets: Sequence[dg.AssetsDefinition], weekly: bool) -> list[dg.AssetsDefinition]:
    """The assets; without the weekly schedule, without freshness policies: then nobody promised a week."""
    if weekly:
        return list(assets)
    bare = dg.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=None), assets)
    return [asset for asset in bare if isinstance(asset, dg.AssetsDefinition)]

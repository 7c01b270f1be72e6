"""The sensor that sees a new folder of photographs and prepares it."""

import dagster as dg

from assets.listing import folder_names
from assets.partitions import FOLDERS_NAME, folder_partitions
from assets.ports import Samae
from faces.errors import SamaeError
from pipelines.jobs import prepare_folder


@dg.sensor(
    job=prepare_folder,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="A folder that ffhq-dataset-v2.json lists and no partition knows becomes a partition and is prepared.",
)
def new_folders(context: dg.SensorEvaluationContext, samae: dg.ResourceParam[Samae]) -> dg.SensorResult | dg.SkipReason:
    """One run a new folder."""
    try:
        folders = folder_names(samae.store)
    except SamaeError as error:
        return dg.SkipReason(str(error))
    known = set(context.instance.get_dynamic_partitions(FOLDERS_NAME))
    new = [folder for folder in folders if folder not in known]
    if not new:
        return dg.SkipReason(f"all {len(folders)} folders are known")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{samae.store.set_name}-{folder}", partition_key=folder) for folder in new
        ],
        dynamic_partitions_requests=[folder_partitions.build_add_request(new)],
    )

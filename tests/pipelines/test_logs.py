"""The console of real runs in a process of their own: with SAMAE_LOG_JSON every line is JSON and names its run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faces.files import write_json

#: A run of a job and one of the implicit job, as the page and the sensors start them: no configuration names a logger.
RUNS = """
import dagster as dg
from pipelines.definitions import defs

jobs = defs.resolve_job_def("find_photographs"), defs.resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.ephemeral() as instance:
    for job in jobs:
        done = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("photographs")], raise_on_error=False
        )
        print(done.run_id)
"""


@pytest.mark.parametrize("listing", ["whole", "damaged"])
def test_every_line_of_a_run_is_json_with_its_run_id(tmp_path: Path, listing: str) -> None:
    path = tmp_path / "set" / "ffhq-dataset-v2.json"
    write_json(path, {"0": {"image": {"file_path": "images64x64/00000/00000.png"}}})
    if listing == "damaged":
        path.write_text("{")
    settings = {"SAMAE_LOG_JSON": "true", "SAMAE_HOME": str(tmp_path / "home"), "SAMAE_RAW": str(tmp_path / "set")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNS], env=os.environ | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    runs = done.stdout.split()
    assert [run for run in dict.fromkeys(line["dagster_meta"]["run_id"] for line in lines)] == runs
    assert len(runs) == 2
    ends = [line["msg"] for line in lines if "RUN_SUCCESS" in line["msg"] or "RUN_FAILURE" in line["msg"]]
    assert len(ends) == 2
    assert all(("RUN_FAILURE" in end) == (listing == "damaged") for end in ends)

"""Every definition in one small text, committed: a change of the graph is a change of that file, seen in review.

Renew it by `python -m tests.pipelines.test_snapshot` after a change that is meant.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

SNAPSHOT = Path(__file__).with_name("definitions.txt")
RENEW = "python -m tests.pipelines.test_snapshot"


def describe() -> Iterator[str]:
    """One line a definition, sorted within its kind."""
    from pipelines.definitions import defs

    graph = defs.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        parents = ",".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        parts = type(node.partitions_def).__name__ if node.partitions_def else "whole"
        kinds = ",".join(sorted(tag.removeprefix("dagster/kind/") for tag in node.tags if "kind" in tag))
        facts = [
            node.group_name, parts, f"from [{parents}]", f"code {node.code_version}", f"kinds {kinds}",
            f"owners {','.join(node.owners)}", f"pools {','.join(sorted(node.pools))}",
            "automatic" if node.automation_condition else "asked",
            "weekly" if node.freshness_policy_or_from_metadata else "",
        ]  # fmt: skip
        yield f"asset {key.to_user_string()}: " + "; ".join(fact for fact in facts if fact)
    for check in sorted(graph.asset_check_keys):
        blocking = " blocking" if graph.get_check_spec(check).blocking else ""
        yield f"check {check.asset_key.to_user_string()}:{check.name}{blocking}"
    for job in sorted(defs.resolve_all_job_defs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            yield f"job {job.name}: {','.join(sorted(node.name for node in job.nodes))}"
    repository = defs.get_repository_def()
    for schedule in repository.schedule_defs:
        yield f"schedule {schedule.name}: {schedule.cron_schedule} {schedule.execution_timezone} of {schedule.job_name}"
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        targets = ",".join(sorted(target.job_name for target in sensor.targets if target.job_name))
        yield f"sensor {sensor.name}: {sensor.sensor_type.value} {targets} {sensor.default_status.value}"
    yield "resources " + ",".join(sorted(name for name in repository.get_top_level_resources()))


def text() -> str:
    return "\n".join(line.rstrip() for line in describe()) + "\n"


def test_definitions_are_those_of_the_snapshot() -> None:
    assert text() == SNAPSHOT.read_text(encoding="utf-8"), f"if the change is meant, renew the file: {RENEW}"


def test_the_snapshot_would_see_a_new_asset() -> None:
    @dg.asset
    def newcomer() -> None: ...

    assert "newcomer" not in text()
    assert len(text().splitlines()) > 30


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")

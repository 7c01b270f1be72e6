"""Every definition in one small text, committed: a change of the graph is a change of that file, seen in review.

Renew it by `python -m tests.pipelines.test_snapshot` after a change that is meant.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

SNAPSHOT = Path(__file__).with_name("definitions.txt")
RENEW = "python -m tests.pipelines.test_snapshot"


def describe(defs: dg.Definitions) -> Iterator[str]:
    """One line a definition, sorted within its kind."""
    graph = defs.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        parents = ",".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        parts = type(node.partitions_def).__name__ if node.partitions_def else "whole"
        kinds = ",".join(sorted(tag.removeprefix("dagster/kind/") for tag in node.tags if "kind" in tag))
        facts = [
            node.group_name, parts, f"from [{parents}]", f"code {node.code_version}", f"kinds {kinds}",
            f"owners {','.join(node.owners)}", f"pools {','.join(sorted(node.pools))}",
            condition_of(node.automation_condition), windows_of(node.freshness_policy_or_from_metadata),
        ]  # fmt: skip
        yield f"asset {key.to_user_string()}: " + "; ".join(fact for fact in facts if fact)
    for check in sorted(graph.asset_check_keys):
        blocking = " blocking" if graph.get_check_spec(check).blocking else ""
        yield f"check {check.asset_key.to_user_string()}:{check.name}{blocking}"
    for job in sorted(defs.resolve_all_job_defs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            tags = "".join(f"; {name}={value}" for name, value in sorted(job.tags.items()))
            yield f"job {job.name}: {','.join(sorted(node.name for node in job.nodes))}{tags}"
    repository = defs.get_repository_def()
    for schedule in repository.schedule_defs:
        yield f"schedule {schedule.name}: {schedule.cron_schedule} {schedule.execution_timezone} of {schedule.job_name}"
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        targets = ",".join(sorted(target.job_name for target in sensor.targets if target.job_name))
        yield f"sensor {sensor.name}: {sensor.sensor_type.value} {targets} {sensor.default_status.value}"
    yield "resources " + ",".join(sorted(name for name in repository.get_top_level_resources()))


def condition_of(condition: dg.AutomationCondition | None) -> str:
    """An automation condition in words."""
    return f"automatic when {words(condition.get_snapshot())}" if condition else "asked"


def words(condition: Any) -> str:
    """A condition's snapshot as name(operands); what Dagster made itself has a label of one word and no operands."""
    node = condition.node_snapshot
    if not condition.children or (node.label and " " not in node.label):
        return node.label or node.name
    return f"{node.label or node.name}({', '.join(map(words, condition.children))})"


def windows_of(policy: Any) -> str:
    """The time windows of a freshness policy."""
    if policy is None:
        return ""
    return f"warns after {policy.warn_window.to_timedelta()}, fails after {policy.fail_window.to_timedelta()}"


def text(defs: dg.Definitions | None = None) -> str:
    """All definitions, one a line; the project's own unless others are given."""
    from pipelines import definitions

    return "\n".join(line.rstrip() for line in describe(defs or definitions.defs)) + "\n"


def test_definitions_are_those_of_the_snapshot() -> None:
    assert text() == SNAPSHOT.read_text(encoding="utf-8"), f"if the change is meant, renew the file: {RENEW}"


def test_the_snapshot_would_see_what_changes() -> None:
    """An asset more, another window, another condition, another tag of a job: each is a line that was not there."""
    from pipelines.definitions import defs

    @dg.asset(
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2), warn_window=timedelta(days=1)),
        automation_condition=~dg.AutomationCondition.missing(),
    )
    def newcomer() -> None: ...

    job = dg.define_asset_job("bring_newcomer", selection=[newcomer], tags={"dagster/max_runtime": "60"})
    grown = dg.Definitions.merge(defs, dg.Definitions(assets=[newcomer], jobs=[job]))
    new = set(text(grown).splitlines()) - set(text(defs).splitlines())
    (asset,) = (line for line in new if line.startswith("asset newcomer: "))
    assert asset.endswith("automatic when NOT(missing); warns after 1 day, 0:00:00, fails after 2 days, 0:00:00")
    assert "job bring_newcomer: newcomer; dagster/max_runtime=60" in new


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")

"""How often a sensor asks again for what failed: after a pause that grows, and not for ever.

A state is what a run would make something from (a digest). Every run of a sensor carries it as a tag, so the runs of
one state can be counted; a state that changed starts anew.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

#: The tag that names the state a run was asked for.
STATE_TAG = "samae/state"
#: Pauses after the first run of a state, the second, and so on, seconds; what fails once more is left to people.
PAUSES_S = (60, 600, 3600, 6 * 3600)
FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
ENDED = (dg.DagsterRunStatus.SUCCESS, *FAILED)


def asked_again(
    instance: dg.DagsterInstance,
    request: dg.RunRequest,
    what: str,
    now: datetime,
    failed: Sequence[dg.DagsterRunStatus] = FAILED,
) -> dg.RunRequest | str:
    """The request with a run key for its next try, or one sentence that says why not (yet).

    The daemon drops a run key that it saw, so every ended run of the state counts in the key and in the pause, also one
    that succeeded: the state may come back. The limit counts what failed since then.

    Args:
        request: its run key is the state.  what: its name in the sentence.
        now: the time, with its zone.  failed: which ends of a run are tried again; another one but success is left to
            people.
    """
    state = str(request.run_key)
    ended = instance.get_run_records(dg.RunsFilter(tags={STATE_TAG: state}, statuses=list(ENDED)))
    ends = [record.dagster_run.status for record in ended]
    since = ends[: ends.index(dg.DagsterRunStatus.SUCCESS)] if dg.DagsterRunStatus.SUCCESS in ends else ends
    if since and since[0] not in failed:
        newest = ended[0].dagster_run
        return f"{what} was cancelled (run {newest.run_id[:8]}): launch {newest.job_name} by hand, or wait for Monday"
    failures = sum(end in failed for end in since)
    if failures > len(PAUSES_S):
        newest = ended[0].dagster_run
        return (
            f"{what} failed {failures} times (last in run {newest.run_id[:8]}): mend what its page says, then launch "
            f"{newest.job_name} by hand"
        )
    if ended:
        last = max(record.end_time or 0.0 for record in ended)
        due = last + PAUSES_S[min(len(ended), len(PAUSES_S)) - 1]
        if now.timestamp() < due:
            why = "failed" if failures else "was made and lacks again"
            return f"{what} {why}, and is tried again at {datetime.fromtimestamp(due, UTC):%H:%M:%S} UTC"
    return request.with_replaced_attrs(run_key=f"{state}-try-{len(ended) + 1}", tags={**request.tags, STATE_TAG: state})


def some_of(names: Sequence[str], between: str = ", ", most: int = 3) -> str:
    """The first names and how many more there are, e.g. "00000, 01000, 02000 and 4 more"."""
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")

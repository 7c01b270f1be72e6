"""How often a sensor asks again for what failed: after a pause that grows, and not for ever.

A state is what a run would make something from (a digest). Every run of a sensor carries it as a tag, so the failed
runs of one state can be counted; a state that changed starts anew.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

#: The tag that names the state a run was asked for.
STATE_TAG = "samae/state"
#: Pauses after the first failed run of a state, the second, and so on, seconds; after one more it is left to people.
PAUSES_S = (60, 600, 3600, 6 * 3600)
FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def asked_again(
    instance: dg.DagsterInstance,
    request: dg.RunRequest,
    what: str,
    now: datetime,
    failed: Sequence[dg.DagsterRunStatus] = FAILED,
) -> dg.RunRequest | str:
    """The request with a run key for its next try, or one sentence that says why not (yet).

    Args:
        request: its run key is the state.  what: its name in the sentence.
        now: the time, with its zone.  failed: which ends of a run count, and are tried again.
    """
    state = str(request.run_key)
    ended = instance.get_run_records(dg.RunsFilter(tags={STATE_TAG: state}, statuses=list(failed)))
    if len(ended) > len(PAUSES_S):
        newest = ended[0].dagster_run
        return (
            f"{what} failed {len(ended)} times (last in run {newest.run_id[:8]}): mend what its page says, then launch "
            f"{newest.job_name} by hand"
        )
    if ended:
        last = max(record.end_time or 0.0 for record in ended)
        due = last + PAUSES_S[len(ended) - 1]
        if now.timestamp() < due:
            return f"{what} failed, and is tried again at {datetime.fromtimestamp(due, UTC):%H:%M:%S} UTC"
    return request.with_replaced_attrs(run_key=f"{state}-try-{len(ended) + 1}", tags={**request.tags, STATE_TAG: state})


def some_of(names: Sequence[str], between: str = ", ", most: int = 3) -> str:
    """The first names and how many more there are, e.g. "00000, 01000, 02000 and 4 more"."""
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")

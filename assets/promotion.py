"""How the champion changes: one promotion at a time, its verdict kept first, the alias moving last.

MLflow has no way to move an alias only if it still is where it was. So promotions (and rollbacks) of one SAMAE_HOME
take turns by a lock in it, and the champion is looked up again before the aliases move and after. Homes that share an
MLflow server do not share the lock: between them the look-ups make the gap small, and do not close it.
"""

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from assets.ports import Tracking
from assets.store import Store
from faces.errors import SamaeError
from faces.files import digest_of, read_json, write_json
from faces.lock import Say, sole_writer, to_standard_error

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
#: Tags of a model version: the digest of its export; what the gate said of it last; the day it was taken back, after
#: which it is not promoted again by itself.
EXPORT_TAG, VERDICT_TAG, ROLLED_BACK_TAG = "samae.export", "verdict", "rolled_back"
LOCK_NAME = ".promotion.lock"
LONGEST_TAG = 300
TAKEN = "{folder} already sees a promotion or rollback ({who}): run this again when it has ended"


def one_at_a_time(home: Path, say: Say = to_standard_error) -> AbstractContextManager[None]:
    """Inside the block nobody else promotes or rolls back from this home; FolderTaken when another one does not end."""
    return sole_writer(home, LOCK_NAME, say=say, taken=TAKEN)


def carry_out(
    tracking: Tracking, store: Store, outcome: dict[str, Any], versions: dict[str, str], made_from: dict[str, Any],
    say: Say = to_standard_error,
) -> None:  # fmt: skip
    """Keep the verdicts of an outcome (see `promotion`) and move the aliases to who was promoted.

    versions: recipe -> model version.  made_from: the provenance of the champion.  say: hears when it has to wait.

    Raises:
        SamaeError: another promotion moved the champion since the challenger was weighed; the sentence is kept too.
    """
    with one_at_a_time(store.home, say):
        refused = overtaken(tracking, outcome)
        made_by = {"provenance": digest_of(made_from), "versions": versions, "refused": refused}
        keep_verdict(store, outcome | made_by)
        for version, sentence in sentences(outcome, versions, refused).items():
            tracking.tag_version(version, VERDICT_TAG, sentence[:LONGEST_TAG])
        if refused:
            raise SamaeError(refused)
        if outcome["promoted"]:
            move_aliases(tracking, versions[outcome["promoted"]], outcome["champion_before"])


def overtaken(tracking: Tracking, outcome: dict[str, Any]) -> str | None:
    """Why nobody may be promoted any more: the champion is not the one that the challenger was weighed against.

    Of two promotions at once the second is refused: it was measured against a champion that no longer reigns.
    """
    now = tracking.version_at(CHAMPION)
    number = now[0] if now else None
    if not outcome["promoted"] or number == outcome["champion_before"]:
        return None
    return (
        f"{outcome['promoted']} was weighed against version {outcome['champion_before'] or 'none'}, but version "
        f"{number} became champion meanwhile; run champion again"
    )


def move_aliases(tracking: Tracking, version: str, old: str | None) -> None:
    """`previous` first and `champion` last, so that there is a champion at every moment; SamaeError if it stays not."""
    if old is not None and old != version:
        tracking.set_alias(PREVIOUS, old)
    tracking.set_alias(CHALLENGER, version)
    tracking.set_alias(CHAMPION, version)
    now = tracking.version_at(CHAMPION)
    if now is None or now[0] != version:
        raise SamaeError(
            f"version {version} became champion, and version {now[0] if now else 'none'} in the same moment from "
            "elsewhere, not weighed against it; run champion again"
        )


def keep_verdict(store: Store, record: dict[str, Any]) -> Path:
    """Write one record to verdicts/NNNNN-DATE.json in the home; the others stay. To be called by one at a time."""
    date = time.gmtime()
    number = max((int(path.name[:5]) for path in kept_verdicts(store)), default=0) + 1
    path = store.home / "verdicts" / f"{number:05d}-{time.strftime('%Y%m%dT%H%M%SZ', date)}.json"
    write_json(path, {"date": time.strftime("%Y-%m-%d %H:%M:%S UTC", date), **record})
    return path


def kept_verdicts(store: Store) -> list[Path]:
    """The files of all verdicts, oldest first."""
    return sorted((store.home / "verdicts").glob("[0-9]" * 5 + "-*.json"))


def unfinished(
    store: Store, made_from: dict[str, Any], reigning: tuple[str, dict[str, str]] | None
) -> dict[str, Any] | None:
    """The outcome of a run that was killed after the aliases had moved and before the champion was kept, or None."""
    kept = kept_verdicts(store)
    if not kept or reigning is None or store.is_current("champion", None, made_from):
        return None
    last = read_json(kept[-1])
    is_its = last["provenance"] == digest_of(made_from) and not last["refused"]
    if not is_its or last["versions"].get(last["promoted"]) != reigning[0]:
        return None
    return {name: last[name] for name in ("promoted", "champion_before", "verdicts")}


def sentences(outcome: dict[str, Any], versions: dict[str, str], refused: str | None) -> dict[str, str]:
    """Model version -> one sentence for each recipe that the gate weighed."""
    said, against = {}, outcome["champion_before"]
    day = time.strftime("%Y-%m-%d", time.gmtime())
    for verdict in outcome["verdicts"]:
        name = verdict.get("challenger")
        if name in versions:
            why = refused if verdict["promote"] else next(iter(verdict["reasons"]), "")
            opponent = f"version {against}" if against and verdict.get("champion", against) else "the baselines"
            said[versions[name]] = f"{day} refused: {why}" if why else f"{day} promoted: better than {opponent}"
    return said

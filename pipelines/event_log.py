"""Dagster's runs and their events on one machine, written faster: the files of Dagster's own classes, which read them.

Dagster keeps a SQLite database a run. To make an empty one it loads all its migrations, and for every event it sets up
SQLAlchemy anew, opens the database and closes it: half of what a run costs. Here the first empty database of
a process is copied for later runs, and the databases in use stay open. What is written, and when it is on the disk, is
as before.
"""

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import inspect
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

from faces.files import atomic_file

#: Databases that stay open: the index, and those of the latest runs.
MOST_OPEN = 4


class Databases:
    """SQLite databases by address; the latest stay open."""

    def __init__(self) -> None:
        self._open: dict[str, Engine] = {}

    def engine(self, address: str) -> Engine:
        """SQLAlchemy's engine of one database."""
        found = self._open.pop(address, None)
        if found is None:
            wait = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            found = create_engine(address, poolclass=QueuePool, pool_size=1, connect_args=wait)
        self._open[address] = found
        for old in list(self._open)[:-MOST_OPEN]:
            self._open.pop(old).dispose()
        return found

    def close(self) -> None:
        """Close all of them; the next use opens them again."""
        while self._open:
            self._open.popitem()[1].dispose()


class QuickEventLog(SqliteEventLogStorage):
    """Events: one database a run, and the index."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._databases = Databases()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "QuickEventLog":
        """What Dagster calls with the settings of `event_log_storage`."""
        return cls(inst_data=inst_data, **config_value)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        path = Path(str(engine.url.database))
        if for_index_shard or path.exists():
            super()._initdb(engine, for_index_shard)
            return
        with atomic_file(path) as scratch:
            scratch.write_bytes(self._empty_database)

    @functools.cached_property
    def _empty_database(self) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            super()._initdb(create_engine(f"sqlite:///{folder}/empty.db", poolclass=NullPool))
            return (Path(folder) / "empty.db").read_bytes()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._databases.engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table."""
        return inspect(self._databases.engine(self.conn_string_for_shard(INDEX_SHARD_NAME))).has_table(table_name)

    def dispose(self) -> None:
        """Close the databases."""
        super().dispose()
        self._databases.close()


class QuickRuns(SqliteRunStorage):
    """Runs and their tags: one database."""

    def __init__(self, conn_string: str, inst_data: Any = None) -> None:
        self._databases = Databases()
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "QuickRuns":
        """What Dagster calls with the settings of `run_storage`."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """One transaction."""
        with self._databases.engine(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the database."""
        super().dispose()
        self._databases.close()

"""The kinds of data directories that are recognised by their own files."""

import os
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a data directory belongs to; the value is its name for a person."""

    POSTGRESQL = "PostgreSQL"
    MYSQL = "MySQL or MariaDB"
    REDIS = "Redis"
    MONGODB = "MongoDB"
    LMDB = "LMDB"
    ROCKSDB = "RocksDB or LevelDB"
    PROMETHEUS = "Prometheus"
    ETCD = "etcd"
    ELASTICSEARCH = "Elasticsearch or OpenSearch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a kind looks on disk.

    A directory with the file `marker` and all of `beside` is one; `only` are those of its files that belong to the
    store, none for the whole directory. `programs` are the beginnings of the names of the programs that work in such a
    directory. `locks` are the files that they lock, `pid_file` the one whose first line is their pid, `links` patterns
    of links to directories that belong to the store.
    """

    kind: Kind
    marker: bytes
    beside: tuple[bytes, ...] = ()
    only: tuple[bytes, ...] = ()
    programs: tuple[str, ...] = ()
    locks: tuple[bytes, ...] = ()
    pid_file: bytes = b""
    links: tuple[str, ...] = ()

    def fits(self, directory: bytes) -> bool:
        """Report whether the other files of this kind of store are there too."""
        return all(os.path.lexists(os.path.join(directory, name)) for name in self.beside)

    def covers(self, name: bytes) -> bool:
        """Report whether a name relative to the directory belongs to the store."""
        return not self.only or name.partition(b"/")[0] in self.only


REDIS_FILES = (b"dump.rdb", b"appendonlydir", b"appendonly.aof")
REDIS_PROGRAMS = ("redis-server", "valkey-server", "keydb-server")

SIGNATURES = (
    Signature(
        kind=Kind.POSTGRESQL,
        marker=b"PG_VERSION",
        beside=(b"base", b"global/pg_control"),
        programs=("postgres", "postmaster"),
        pid_file=b"postmaster.pid",
        links=("pg_wal", "pg_tblspc/*"),
    ),
    Signature(
        kind=Kind.MYSQL, marker=b"ibdata1", programs=("mysqld", "mariadbd"), locks=(b"ibdata1", b"aria_log_control")
    ),
    *(Signature(kind=Kind.REDIS, marker=marker, only=REDIS_FILES, programs=REDIS_PROGRAMS) for marker in REDIS_FILES),
    Signature(
        kind=Kind.MONGODB,
        marker=b"WiredTiger.wt",
        beside=(b"WiredTiger",),
        programs=("mongod",),
        locks=(b"mongod.lock", b"WiredTiger.lock"),
        pid_file=b"mongod.lock",
    ),
    Signature(kind=Kind.LMDB, marker=b"data.mdb", only=(b"data.mdb", b"lock.mdb"), locks=(b"lock.mdb", b"data.mdb")),
    Signature(kind=Kind.ROCKSDB, marker=b"CURRENT", beside=(b"LOCK",), locks=(b"LOCK",)),
    Signature(
        kind=Kind.PROMETHEUS,
        marker=b"chunks_head",
        beside=(b"wal",),
        programs=("prometheus", "thanos"),
        locks=(b"lock",),
    ),
    Signature(
        kind=Kind.ETCD, marker=b"member", beside=(b"member/snap/db",), programs=("etcd",), locks=(b"member/snap/db",)
    ),
    Signature(
        kind=Kind.ELASTICSEARCH, marker=b"node.lock", beside=(b"_state",), programs=("java",), locks=(b"node.lock",)
    ),
)

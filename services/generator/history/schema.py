"""The history's tables and their schema version."""

from sqlalchemy import Column, Connection, ForeignKey, Index, Integer, MetaData, String, Table, Text, insert, select

SCHEMA_VERSION = 1

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

contents = Table(
    "contents",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content_json", Text, nullable=False),
    comment="Each distinct content once, however often it was generated",
)

generations = Table(
    "generations",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("content_id", String(36), nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("generated_at", String(32), nullable=False, comment="ISO 8601, UTC"),
    Column("document_digest", String(64), nullable=False),
    Column("content_digest", String(64), ForeignKey("contents.digest"), nullable=False),
    Column("options_json", Text, nullable=False),
    Column("published_to", Text, nullable=False, comment="JSON array"),
    Column("results_json", Text, nullable=False),
    Column("errors", Text, nullable=False, comment="JSON array"),
)

by_content = Index("generations_by_content", generations.c.content_digest)
"""Finds a content's generations. Older databases get it with the first removal, which alone needs it."""


class SchemaMismatchError(Exception):
    """The database was written by another version of the generator."""


def ensure_schema(connection: Connection) -> None:
    """Create missing tables. Raise SchemaMismatchError if the tables have another version, without changing them."""
    # Two generators that start at once must not both create tables. The locks end with the transaction.
    lock = {"postgresql": "SELECT pg_advisory_xact_lock(8000100020003)", "sqlite": "BEGIN IMMEDIATE"}
    connection.exec_driver_sql(lock[connection.dialect.name])
    metadata.create_all(connection)
    found = connection.scalar(select(schema_version.c.version))
    if found is None:
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    elif found != SCHEMA_VERSION:
        raise SchemaMismatchError(f"its tables have version {found}, but this generator needs version {SCHEMA_VERSION}")

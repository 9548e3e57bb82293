"""The scope of a backup: the roots of the manifest, the databases of the settings, the keys, the directory."""

import sqlite3
from pathlib import Path

import pytest

from toombos_cli.backup.archive.format import Root
from toombos_cli.backup.scope import find_stores, make_keys, make_place, make_scope, readable_manifest
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.loader import load_manifest

SHOP = '[services.shop]\ncommand = ["shop"]\nscheme = "none"\n'


def system(project: Path, url: str, *, more: str = "", database: str = "") -> Manifest:
    (project / "toombos.toml").write_text(SHOP + more)
    (project / ".env").write_text(f"DATABASE_URL={url}\n")
    if database:
        path = project / database
        path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t (n)")
        connection.close()
    return load_manifest(project)


def roots(manifest: Manifest) -> list[str]:
    return [root.path for root in make_scope(manifest, find_stores(manifest)).roots]


def test_a_database_below_a_root_has_its_path_in_the_archive(tmp_path: Path):
    manifest = system(tmp_path, "sqlite:///data/a.db", database="data/a.db")
    assert find_stores(manifest).sqlite == {b"data/a.db"}
    assert roots(manifest) == [".env", "toombos.toml", "data", "logs"]


def test_a_database_outside_the_roots_becomes_a_root(tmp_path: Path):
    manifest = system(tmp_path, "sqlite:///a.db", more='cwd = "{project}/shop"\n', database="shop/a.db")
    assert roots(manifest) == [".env", "toombos.toml", "data", "logs", "shop/a.db"]


def test_a_database_that_does_not_exist_yet_is_not_a_root(tmp_path: Path):
    assert roots(system(tmp_path, "sqlite:///a.db")) == [".env", "toombos.toml", "data", "logs"]


def test_a_root_that_is_a_link_to_another_disk_contains_its_database(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    disk = tmp_path_factory.mktemp("disk")
    (tmp_path / "data").symlink_to(disk)
    manifest = system(tmp_path, f"sqlite:///{disk}/a.db", database="data/a.db")
    stores = find_stores(manifest)
    assert (stores.sqlite, dict(stores.unsaved)) == ({b"data/a.db"}, {})


def test_a_database_behind_a_link_out_of_the_roots_is_reported_as_unsaved(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    outside = tmp_path_factory.mktemp("outside") / "a.db"
    outside.write_bytes(b"")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.db").symlink_to(outside)
    stores = find_stores(system(tmp_path, "sqlite:///data/a.db"))
    assert list(stores.unsaved) == [b"DATABASE_URL (shop)"]


def test_the_backup_table_sets_the_scope(tmp_path: Path):
    more = '[backup]\nroots = ["x"]\nlog_roots = ["l"]\nlog_days = 3\nexclude = ["*.tmp"]\ndirectory = "b"\n'
    manifest = system(tmp_path, "", more=more)
    stores = find_stores(manifest)
    scope = make_scope(manifest, stores)
    assert scope.roots == (Root(path="x"), Root(path="l", log_days=3.0))
    assert make_scope(manifest, stores, all_logs=True).roots == (Root(path="x"), Root(path="l"))
    assert (
        (scope.exclude, scope.backup_directory)
        == (("*.tmp",), make_place(manifest).directory)
        == (
            ("*.tmp",),
            tmp_path / "b",
        )
    )


def test_the_backup_table_sets_the_keys(tmp_path: Path):
    manifest = system(tmp_path, "", more='[backup]\nage_recipients = ["age1x"]\nage_identity = "key.txt"\n')
    assert make_keys(manifest).recipients == ("age1x",)
    assert make_keys(manifest).identity == tmp_path / "key.txt"


def test_an_unreadable_env_file_is_refused_unless_the_caller_is_lenient(tmp_path: Path):
    manifest = system(tmp_path, "")
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError):
        find_stores(manifest)
    assert dict(find_stores(manifest, lenient=True).unsaved) == {b"the databases that env files name": "not UTF-8"}


def test_the_packaged_manifest_with_the_default_roots_replaces_an_unreadable_one(tmp_path: Path):
    (tmp_path / "toombos.toml").write_text("= broken")
    manifest = readable_manifest(tmp_path)
    assert (manifest.project, manifest.source.path) == (tmp_path, None)
    assert manifest.backup.roots == (".env", "toombos.toml", "data", "logs")
    assert "generator" in manifest.services

"""RESTORE.txt, the second member of every archive: how to restore it with only tar and zstd."""

# By default tar restores only user.* attributes. Without its ACL, a file would grant its group the ACL's whole mask.
UNPACK = "tar --zstd --xattrs --xattrs-include='*' -xpf"

RESTORE_TXT = f"""\
This is a backup made by toombos. With toombos installed:

    toombos restore ARCHIVE --preview      show what would change
    toombos restore ARCHIVE                restore it; the current state is saved first, in a safety backup

Without toombos, GNU tar and zstd are enough. Stop the services first.

    sha256sum -c ARCHIVE.sha256            check that the file is unchanged
    mkdir restored
    {UNPACK} ARCHIVE -C restored
                                           unpack beside the live files, never over them

If the name ends in .age, decrypt the archive first:

    age -d -i KEYFILE -o ARCHIVE.tar.zst ARCHIVE.tar.zst.age

`restored` then contains every file with its name, mode and time, and manifest.json with the sha256 of each file.
To check the contents:

    cd restored && python3 -c "
    import json, hashlib, base64, os
    for e in json.load(open('manifest.json'))['entries']:
        n = base64.b64decode(e['path_b64']) if 'path_b64' in e else os.fsencode(e['path'])
        if e['type'] != 'file': continue
        f, h = open(n, 'rb'), hashlib.sha256()
        for at, size in e['data'] if 'data' in e else [[0, e.get('size', 0)]]:
            f.seek(at); h.update(f.read(size))
        if h.hexdigest() != e['sha256'] or os.path.getsize(n) != e.get('size', 0): print('DIFFERS', n)
    "

Databases are consistent copies, made while the system was running. Before you move a SQLite file into place, remove
the live file together with its -wal, -shm and -journal files: an old -wal beside a restored file corrupts it.
To restore .toombos/postgresql.dump: pg_restore -1 --no-owner -d URL_OF_AN_EMPTY_DATABASE .toombos/postgresql.dump
"""

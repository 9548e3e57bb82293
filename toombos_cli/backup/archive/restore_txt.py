"""RESTORE.txt, the second member of every archive: how to restore it with nothing but tar and zstd."""

# By default tar sets no attribute but user.*; of a file with an ACL, the group would then get the rights of its mask.
UNPACK = "tar --zstd --xattrs --xattrs-include='*' -xpf"

RESTORE_TXT = f"""\
This is a backup made by toombos. With toombos installed:

    toombos restore ARCHIVE --preview      what would change
    toombos restore ARCHIVE                restore it, with a safety backup of what is there

Without toombos, by GNU tar and zstd alone. Stop the services first.

    sha256sum -c ARCHIVE.sha256            is the file what was written?
    mkdir restored
    {UNPACK} ARCHIVE -C restored
                                           unpack beside the live files, never over them

An archive that ends in .age is decrypted first:

    age -d -i KEYFILE -o ARCHIVE.tar.zst ARCHIVE.tar.zst.age

`restored` then holds every file with its name, mode and time, and manifest.json with the sha256 of each.
To check the contents:

    cd restored && python3 -c "
    import json, hashlib, base64, os
    for e in json.load(open('manifest.json'))['entries']:
        n = base64.b64decode(e['path_b64']) if 'path_b64' in e else os.fsencode(e['path'])
        if e['type'] == 'file' and hashlib.sha256(open(n, 'rb').read()).hexdigest() != e['sha256']: print('DIFFERS', n)
    "

Databases are whole copies made while the system ran. Before you move a SQLite file into place, remove the live
file together with its -wal, -shm and -journal files: an old -wal beside a restored file corrupts it.
A file under .toombos/postgresql.dump is restored by: pg_restore -1 --no-owner -d URL_OF_AN_EMPTY_DATABASE FILE
"""

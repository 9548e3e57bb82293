"""Whether the kernel can run a program, and if not, why: what `shutil.which` and the error of an exec leave open."""

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from toombos_cli.base.quoting import quoted

_LONGEST_FIRST_LINE = 256  # the kernel reads no more


@dataclass(frozen=True, slots=True)
class CannotRun:
    """Why a program cannot be run, in words that follow its name, and a hint."""

    why: str
    hint: str


def executable_of(name: str, *, directory: str, path: str | None) -> str | None:
    """Return the program's path as exec would find it with this PATH in this directory, or None."""
    if os.sep in name:
        return shutil.which(os.path.join(directory, name))  # noqa: PTH118  (which returns what it gets)
    return shutil.which(name, path=os.defpath if path is None else path)


def why_not_run(name: str, *, directory: str, path: str | None) -> CannotRun | None:
    """Return what would prevent an exec of the program as far as its file tells, or None."""
    found = executable_of(name, directory=directory, path=path)
    if found is None:
        return _why_not_found(name, directory, path)
    return _flaw_of_script(Path(found), path)


def why_exec_failed(program: str, error: OSError) -> CannotRun:
    """Return why the kernel has refused to run a program that is there, or to enter its directory."""
    if error.filename is not None and os.fsdecode(error.filename) != program:
        place = os.fsdecode(error.filename)
        return CannotRun(f"cannot be run: {place}: {error.strerror}", f"see: ls -ld {quoted(place)}")
    match error.errno:
        case errno.ENOEXEC:
            return CannotRun(
                "cannot be run: it is neither a program for this machine nor a script",
                f"a script needs a first line such as #!/bin/sh: {program}",
            )
        case errno.ENOENT:
            return CannotRun("cannot be run: the loader that it asks for was not found", f"see: ldd {quoted(program)}")
        case errno.EACCES if _is_on_noexec(program):
            hint = f"move it, or see: findmnt -T {quoted(program)}"
            return CannotRun("cannot be run: its file system is mounted with noexec", hint)
    return CannotRun(f"cannot be run: {error.strerror}", f"see: ls -l {quoted(program)}")


def _why_not_found(name: str, directory: str, path: str | None) -> CannotRun:
    places = [Path(directory) / name]
    if os.sep not in name:
        places = [Path(entry) / name for entry in (path or os.defpath).split(os.pathsep) if entry]
    for place in places:
        if place.is_dir() and os.sep in name:
            return CannotRun("is a directory", "name the program in it")
        if place.is_file():
            return CannotRun("is not executable", f"chmod +x {quoted(place)}")
    return CannotRun("was not found", "")


def _flaw_of_script(file: Path, path: str | None) -> CannotRun | None:
    """Return what is wrong with the first line of a script; None for another program, or one that cannot be read."""
    try:
        with file.open("rb") as stream:
            begin = stream.read(_LONGEST_FIRST_LINE)
    except OSError:
        return None
    if not begin.startswith(b"#!"):
        return None
    first = begin[2:].split(b"\n", 1)[0]
    if first.endswith(b"\r"):
        return CannotRun(
            "has lines that end with CR LF, as on Windows",
            f"sed -i 's/\\r$//' {quoted(file)}",
        )
    words = first.decode(errors="surrogateescape").split()
    if not words:
        return None
    interpreter = words[0]
    if os.path.isabs(interpreter) and not os.path.exists(interpreter):  # noqa: PTH110, PTH117  (a text of others)
        return CannotRun(f"has an interpreter that was not found: {interpreter}", f"correct the first line of {file}")
    is_env = os.path.basename(interpreter) == "env" and len(words) > 1 and words[1].isidentifier()  # noqa: PTH119
    if is_env and shutil.which(words[1], path=os.defpath if path is None else path) is None:
        return CannotRun(f"has an interpreter that is not on its PATH: {words[1]}", f"install it, or correct {file}")
    return None


def _is_on_noexec(program: str) -> bool:
    try:
        return bool(os.statvfs(program).f_flag & os.ST_NOEXEC)
    except OSError:
        return False

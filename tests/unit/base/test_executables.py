"""Why a program cannot be run, beside what the kernel itself says of it."""

import subprocess
from pathlib import Path

import pytest

from toombos_cli.base.executables import executable_of, why_exec_failed, why_not_run

FLAWS: dict[str, tuple[bytes | None, int, str, str]] = {
    "no file": (None, 0, "was not found", ""),
    "a file that is not executable": (b"#!/bin/sh\n", 0o644, "is not executable", "chmod +x {file}"),
    "a script with the line ends of Windows": (b"#!/bin/sh\r\necho\r\n", 0o755, "lines that end with CR LF", "sed -i"),
    "a script whose interpreter is missing": (
        b"#!/opt/python9/bin/python\n",
        0o755,
        "an interpreter that was not found: /opt/python9/bin/python",
        "correct the first line of {file}",
    ),
    "a script whose interpreter is not on PATH": (
        b"#!/usr/bin/env python9\n",
        0o755,
        "an interpreter that is not on its PATH: python9",
        "install it",
    ),
}


@pytest.mark.parametrize(("content", "mode", "why", "hint"), FLAWS.values(), ids=FLAWS)
@pytest.mark.parametrize("by", ["path", "name"])
def test_what_prevents_an_exec_is_named(
    tmp_path: Path, content: bytes | None, mode: int, why: str, hint: str, by: str
) -> None:
    file = tmp_path / "program"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    name = "./program" if by == "path" else "program"
    flaw = why_not_run(name, directory=str(tmp_path), path=f"/usr/bin:{tmp_path}")
    assert flaw is not None
    assert why in flaw.why
    assert hint.format(file=file) in flaw.hint


def test_a_directory_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    flaw = why_not_run("./program", directory=str(tmp_path), path=None)
    assert flaw is not None
    assert flaw.why == "is a directory"


WELL = {
    "a script": b"#!/bin/sh\nexit 0\n",
    "a script with an option of its interpreter": b"#!/bin/sh -e\nexit 0\n",
    "a script of an interpreter on PATH": b"#!/usr/bin/env sh\nexit 0\n",
    "a script that splits its words": b"#!/usr/bin/env -S sh -e\nexit 0\n",
    "a script with blanks before its interpreter": b"#! /bin/sh\nexit 0\n",
    "a script that ends with its first line": b"#!/bin/true",
}


@pytest.mark.parametrize("content", WELL.values(), ids=WELL)
def test_a_program_that_can_be_run_has_no_flaw(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "program"
    file.write_bytes(content)
    file.chmod(0o755)
    assert why_not_run("./program", directory=str(tmp_path), path="/usr/bin:/bin") is None
    assert executable_of("program", directory="/", path=str(tmp_path)) == str(file)
    subprocess.run([str(file)], check=True)


REFUSED = {
    "a text without a first line for its interpreter": (b"echo hello\n", "neither a program for this machine"),
    "a binary for nothing": (b"\x7fELF this is none", "neither a program for this machine"),
}


@pytest.mark.parametrize(("content", "why"), REFUSED.values(), ids=REFUSED)
def test_what_the_kernel_refuses_is_explained(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "program"
    file.write_bytes(content)
    file.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error") as refused:
        subprocess.run([str(file)], check=False)
    assert why in why_exec_failed(str(file), refused.value).why


def test_a_directory_that_cannot_be_entered_is_not_taken_for_a_missing_loader(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as refused:
        subprocess.run(["/bin/true"], cwd=tmp_path / "gone", check=False)
    flaw = why_exec_failed("/bin/true", refused.value)
    assert flaw.why == f"cannot be run: {tmp_path / 'gone'}: No such file or directory"

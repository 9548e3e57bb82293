"""Finds the modules of an interpreter by looking at files: neither the interpreter nor any of its code is run.

The files may belong to another user, and the caller may be root. The search path is derived as Python's
`site` module does it: from `pyvenv.cfg`, the layout of the prefix, `.pth` files, and the metadata of editable installs.
"""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from toombos_cli.base.untrusted import decode_untrusted

_NAME = re.compile(r"(?:python|pypy)(\d(?:\.\d+)?)?t?w?(?:\.exe)?")
_SUFFIXES = (".py", ".pyc", ".so", ".pyd")
_HARMLESS = ("distutils-precedence.pth", "_virtualenv.pth", "a1_coverage.pth")
_LARGEST_FILE_BYTES = 65_536
_ISOLATED = re.compile(r"-[A-Za-z]*[IP][A-Za-z]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Where an interpreter looks for modules; `unknown` says why that cannot be derived, or is ""."""

    path: tuple[Path, ...] = ()
    unknown: str = ""


def is_interpreter(command: tuple[str, ...]) -> bool:
    """Report whether a command line begins with a Python interpreter, and not with a program that may start one."""
    return bool(command) and _NAME.fullmatch(Path(command[0]).name) is not None


def search_of(program: str, options: Iterable[str], directory: str, python_path: str) -> Search:
    """Return where the interpreter looks when it is started with these options as `-m MODULE` in the directory."""
    options = tuple(options)
    isolated = any(_ISOLATED.fullmatch(option) for option in options)
    first = [] if isolated else [Path(directory)]
    given = [] if isolated else [Path(directory) / entry for entry in python_path.split(os.pathsep) if entry]
    own = _own(program)
    if own is not None:
        return Search(path=(*first, *given, *own, *_editable_of(own)))
    if _is_script(program):
        return Search(unknown=f"{program} is a script that starts an interpreter")
    found = tuple(_library_of(Path(program)))
    if not found:
        return Search(unknown=f"the library of {program} was not found")
    return Search(path=(*first, *given, *found, *_editable_of(found)))


def find_module(name: str, path: Iterable[Path]) -> str:
    """Return the file of a module, or `namespace` for a package without one; "" if no directory has it."""
    places = tuple(path)
    *packages, last = name.split(".") if name else [""]
    for package in packages:
        places = tuple(place / package for place in places if (place / package).is_dir())
    namespace = ""
    for place in places:
        if found := next(_files_of(place / last, "__init__"), None) or next(_files_of(place, last), None):
            return str(found)
        if (place / last).is_dir() and last:
            namespace = "namespace"
    return namespace


def _files_of(directory: Path, stem: str) -> Iterator[Path]:
    """Yield the files in the directory that hold the module `stem`, such as `stem.py` or `stem.cpython-314.so`."""
    for suffix in _SUFFIXES:
        if (directory / f"{stem}{suffix}").is_file():
            yield directory / f"{stem}{suffix}"
    if stem:
        yield from directory.glob(f"{stem}.*.so")


def _own(program: str) -> tuple[Path, ...] | None:
    """Return toombos' own search path if the program is toombos' own interpreter in the same environment."""
    try:
        same = Path(program).samefile(sys.executable)
    except OSError:
        return None
    if not same or _prefix_of(Path(program)) != _prefix_of(Path(sys.executable)):
        return None
    return tuple(Path(entry) for entry in sys.path if entry)


def _prefix_of(program: Path) -> Path:
    """Return the directory of the environment that a program in `bin` belongs to."""
    return Path(os.path.realpath(program.parent)).parent


def _is_script(program: str) -> bool:
    try:
        with open(program, "rb") as file:  # noqa: PTH123  (a plain path string)
            return file.read(2) == b"#!"
    except OSError:
        return False


def _library_of(program: Path) -> Iterator[Path]:
    """Yield the directories of the standard library and of installed packages; none if the layout is unknown."""
    settings = _environment_settings(program)
    if settings is None:
        yield from _base_library(Path(os.path.realpath(program)), _version_in(program.name))
        return
    prefix, version = _prefix_of(program), _version_in(settings.get("version", settings.get("version_info", "")))
    sites = [prefix / "lib" / f"python{version}" / "site-packages"] if version else []
    base = tuple(_base_library(Path(settings.get("home", "")) / "python3", version))
    if not base or not any(site.is_dir() for site in sites):
        return
    with_system = settings.get("include-system-site-packages", "").lower() == "true"
    yield from (place for place in base if with_system or place.name not in ("site-packages", "dist-packages"))
    yield from _with_pth_files(sites)


def _environment_settings(program: Path) -> dict[str, str] | None:
    """Return what `pyvenv.cfg` of a virtual environment says, or None if the program is in none."""
    for directory in (program.parent, program.parent.parent):
        text = _text_of(directory / "pyvenv.cfg")
        if text is not None:
            pairs = (line.partition("=") for line in text.splitlines())
            return {name.strip().lower(): value.strip() for name, _, value in pairs}
    return None


def _base_library(program: Path, version: str) -> Iterator[Path]:
    """Yield the directories below the prefix of an interpreter that is in no virtual environment."""
    prefix = program.parent.parent
    found = sorted((prefix / "lib").glob(f"python{version or '3.*'}"))
    named = prefix / "lib" / f"python{version or _version_in(os.path.realpath(program))}"
    library = named if named in found else (found[0] if len(found) == 1 else None)
    if library is None or not (library / "os.py").is_file():
        return
    yield from (library, library / "lib-dynload")
    home = Path.home() / ".local" / "lib" / library.name
    debian = (Path("/usr/local/lib") / library.name, prefix / "lib" / "python3")
    sites = (home / "site-packages", library / "site-packages", *(place / "dist-packages" for place in debian))
    yield from _with_pth_files(site for site in sites if site.is_dir())


def _version_in(text: str) -> str:
    """Return `3.14` from `python3.14` or `3.14.0.final.0`, or ""."""
    found = re.search(r"(\d+\.\d+)(?:[.\d]|$|\D)", Path(text).name)
    return found[1] if found else ""


def _with_pth_files(sites: Iterable[Path]) -> Iterator[Path]:
    """Yield each directory and those that its `.pth` files add; their `import` lines are code, which is not run."""
    for site in sites:
        yield site
        for file in sorted(site.glob("*.pth")):
            for line in (_text_of(file) or "").splitlines():
                place = site / line.strip()
                if line.strip() and not line.startswith(("#", "import ", "import\t")) and place.is_dir():
                    yield place


def hook_in(path: Iterable[Path]) -> str:
    """Return a `.pth` file whose code may add further modules in a way that its text does not tell, or ""."""
    for place in path:
        for file in sorted(place.glob("*.pth")):
            code = [line for line in (_text_of(file) or "").splitlines() if line.startswith(("import ", "import\t"))]
            if file.name not in _HARMLESS and any("_finder" not in line for line in code):
                return str(file)
    return ""


def _editable_of(path: Iterable[Path]) -> Iterator[Path]:
    """Yield the source directories of editable installs, as their metadata names them (PEP 610)."""
    for place in path:
        for record in place.glob("*.dist-info/direct_url.json"):
            try:
                document = decode_untrusted(_text_of(record) or "")
                source = Path(unquote(urlsplit(document["url"]).path))
                editable = document["dir_info"]["editable"]
            except (ValueError, LookupError, TypeError):
                continue
            if editable is True:
                yield from (source, source / "src")
        for finder in place.glob("__editable___*_finder.py"):
            yield from _mapped_by(finder)


def _mapped_by(finder: Path) -> Iterator[Path]:
    """Yield the parents of the packages in the table of setuptools' finder for an editable install."""
    table = re.search(r"^MAPPING\b[^=\n]*=\s*(\{[^\n]*\})", _text_of(finder) or "", re.MULTILINE)
    try:
        mapping = ast.literal_eval(table[1]) if table else {}
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return
    yield from (Path(str(place)).parent for name, place in mapping.items() if Path(str(place)).stem == name)


def _text_of(path: Path) -> str | None:
    """Return the text of a small regular file, or None."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE_BYTES:
            return None
        return path.read_text("utf-8", "replace")
    except OSError:
        return None

"""One service of a Compose file while it is read."""

import posixpath
from dataclasses import dataclass, field

from toombos_cli.config.imports.dockerfile import Dockerfile, read_dockerfile
from toombos_cli.config.imports.draft import ServiceDraft
from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.places import Places
from toombos_cli.config.imports.shell import braced
from toombos_cli.config.imports.variables import Variables

EXTENSION = "x-toombos"
"""The key of a service in a Compose file that toombos wrote, with what Compose has no word for."""
INSIDE = "/app"
"""The project directory in the containers of such a file."""


@dataclass(kw_only=True)
class ComposeService:
    """The table of the file, what it becomes, and where the paths of its container are on this machine."""

    node: Node
    draft: ServiceDraft
    base: str
    """The directory of the file, as seen from the project."""
    image: str = ""
    places: Places = field(default_factory=Places)
    dockerfile: Dockerfile | None = None
    context: str = "."
    volumes: dict[str, str] = field(default_factory=dict)
    """The directory here for the data of each named volume, by the place of the volume."""

    def here(self, path: str) -> str:
        """Return a path that is relative to the file as one relative to the project."""
        return posixpath.normpath(posixpath.join(self.base, path))

    def read_places(self, variables: Variables) -> None:
        """Read volumes, build and working directory: they say what the container saw where."""
        if self.node[EXTENSION]:
            self.places.add(INSIDE, ".")
        for item in self.node["volumes"].items():
            self._volume(item, variables)
        build = self.node["build"]
        if build:
            self._build(build, variables)
        directory = variables.filled(self.node["working_dir"]) if self.node["working_dir"] else ""
        if not directory and self.dockerfile:
            directory = self.dockerfile.directory
        outside = self.places.outside(directory) if directory else None
        if outside is None and directory and self.node["working_dir"]:
            self.draft.notes.append(f"its directory in the container was {directory}")
        directory_here = outside or braced(self.context if build else self.base)
        if posixpath.normpath(directory_here) != ".":
            self.draft.set("cwd", directory_here)

    def _volume(self, item: Node, variables: Variables) -> None:
        if isinstance(item.value, dict):
            source, inside = variables.filled(item["source"]), variables.filled(item["target"])
            kind = item["type"].scalar("volume")
        else:
            parts = variables.filled(item).split(":")
            source, inside = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
            kind = "bind" if source.startswith((".", "/", "~")) else "volume"
        if not source or not inside.startswith("/"):
            return  # an anonymous volume hides what is there, such as node_modules
        if kind == "bind":
            outside = source if source.startswith(("/", "~")) else self.here(source)
            self.places.add(inside, outside)
            return
        outside = f"data/{source}"
        self.volumes[inside] = outside
        self.places.add(inside, outside)
        self.draft.notes.append(f"volume {source} ({inside} in the container): its place here is {outside}")

    def _build(self, build: Node, variables: Variables) -> None:
        if isinstance(build.value, dict):
            context = variables.filled(build["context"]) if build["context"] else "."
            name = variables.filled(build["dockerfile"]) if build["dockerfile"] else "Dockerfile"
            target = variables.filled(build["target"]) if build["target"] else ""
        else:
            context, name, target = variables.filled(build), "Dockerfile", ""
        if "://" in context or context.startswith("git@"):
            self.draft.notes.append(f"it was built from {context}")
            return
        self.context = self.here(context)
        self.dockerfile = read_dockerfile(self.node.source.path.parent / context / name, target)
        if self.dockerfile is None:
            return
        for inside, source in self.dockerfile.copied:
            self.places.add(inside, posixpath.normpath(posixpath.join(self.context, source)))
        if self.dockerfile.variables:
            named = ", ".join(dict.fromkeys(self.dockerfile.variables))
            self.draft.notes.append(f"its Dockerfile also sets {named}")

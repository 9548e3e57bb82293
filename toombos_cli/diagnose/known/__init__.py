"""The knowledge base: log lines of programs whose cause is known, as data.

Each TOML file is about one program or runtime. Its tables are `KnownLine` of the manifest, in which a team describes
the lines of its own programs.
"""

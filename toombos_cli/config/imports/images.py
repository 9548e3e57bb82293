"""Images of well-known servers: the program to install instead, how it is usually started, and its port."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A server that is usually run from an image. `{data}` in its texts is the directory with the service's data."""

    install: str
    """The program, and the Debian package if there is one."""
    command: tuple[str, ...]
    port: int
    prepare: tuple[str, ...] = ()
    """What has to be done once, each a command to paste or a sentence."""
    health: str = ""
    """The path over HTTP that says whether it is well; "" for a server that is asked for its port alone."""
    stop_signal: str = ""
    program: str = ""
    """The word that the image's entrypoint puts before options, if it is not the first of `command`."""


def _with_data(line: str) -> tuple[str, ...]:
    return ("sh", "-c", f"mkdir -p {{data}} && exec {line}")


_POSTGRES = Image(
    install="PostgreSQL (Debian: postgresql; its programs are in /usr/lib/postgresql/VERSION/bin)",
    command=("postgres", "-D", "{data}", "-h", "{host}", "-p", "{port}", "-k", ""),
    port=5432,
    prepare=(
        "once: initdb -D {data} -U {user}",
        "once, while it runs: createdb -h 127.0.0.1 -p {number} -U {user} {database}",
    ),
    stop_signal="INT",
)
_REDIS = Image(
    install="Redis (Debian: redis-server)",
    command=_with_data("redis-server --bind {host} --port {port} --dir {data}"),
    port=6379,
    program="redis-server",
)
_MYSQL = Image(
    install="MariaDB or MySQL (Debian: mariadb-server)",
    command=("mariadbd", "--datadir={data}", "--bind-address={host}", "--port={port}", "--socket={data}/mysqld.sock"),
    port=3306,
    prepare=("once: mariadb-install-db --datadir={data}, then create the user and the database",),
)
_MONGO = Image(
    install="MongoDB (mongod, from mongodb.com)",
    command=_with_data("mongod --dbpath {data} --bind_ip {host} --port {port}"),
    port=27017,
    program="mongod",
)
_RABBITMQ = Image(install="RabbitMQ (Debian: rabbitmq-server)", command=("rabbitmq-server",), port=5672)
_NGINX = Image(
    install="nginx (Debian: nginx-light)",
    command=("nginx", "-p", "{project}", "-c", "{config}", "-g", "daemon off;"),
    port=80,
    prepare=("its configuration must listen on the port below, and its log and pid files must be writable",),
    stop_signal="QUIT",
)
_MINIO = Image(
    install="MinIO (from min.io)",
    command=_with_data("minio server {data} --address {host}:{port}"),
    port=9000,
    health="/minio/health/live",
    program="minio",
)
_MAILPIT = Image(
    install="Mailpit (from mailpit.axllent.org)",
    command=("mailpit", "--smtp", "{host}:{port}", "--listen", "{host}:8025"),
    port=1025,
)
_ELASTIC = Image(
    install="Elasticsearch (from elastic.co)",
    command=("elasticsearch", "-E", "path.data={data}", "-E", "http.port={port}", "-E", "discovery.type=single-node"),
    port=9200,
)

IMAGES: dict[str, Image] = {
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "postgis": _POSTGRES,
    "pgvector": _POSTGRES,
    "timescaledb": _POSTGRES,
    "redis": _REDIS,
    "redis-stack-server": _REDIS,
    "valkey": Image(
        install="Valkey (Debian: valkey-server)",
        command=_with_data("valkey-server --bind {host} --port {port} --dir {data}"),
        port=6379,
        program="valkey-server",
    ),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "mongo": _MONGO,
    "mongodb": _MONGO,
    "memcached": Image(
        install="memcached (Debian: memcached)",
        command=("memcached", "-l", "{host}", "-p", "{port}"),
        port=11211,
    ),
    "rabbitmq": _RABBITMQ,
    "nginx": _NGINX,
    "nginx-unprivileged": _NGINX,
    "minio": _MINIO,
    "mailhog": _MAILPIT,
    "mailpit": _MAILPIT,
    "elasticsearch": _ELASTIC,
    "nats": Image(
        install="NATS (Debian: nats-server)", command=("nats-server", "-a", "{host}", "-p", "{port}"), port=4222
    ),
    "caddy": Image(install="Caddy (Debian: caddy)", command=("caddy", "run", "--config", "{config}"), port=80),
}
"""By the last part of the image's name, without its tag."""

RUNTIMES = frozenset(
    {
        *("python", "node", "ruby", "golang", "php", "openjdk", "eclipse-temurin", "amazoncorretto", "debian"),
        *("ubuntu", "alpine", "busybox", "bun", "deno", "rust", "perl", "elixir", "erlang", "swift", "dotnet"),
        *("sdk", "aspnet", "uv", "playwright"),
    }
)
"""Images that run the command that they are given, whatever it is."""


def plain_name(image: str) -> str:
    """Return the last part of an image's name without tag and digest: `postgres` for `docker.io/postgres:16`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()

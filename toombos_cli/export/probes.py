"""The one place that turns the manifest's expectations into the probes of other engines."""

import shlex
from dataclasses import dataclass

from toombos_cli.manifest.tables.expectations import Expectation, Statuses, header_variables
from toombos_cli.manifest.tables.service import Question, Service

_REFERENCE = "${env."


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProbe:
    """What an engine asks a service: a GET of `path`, a connection, or a command whose exit code 0 means well.

    `shell` asks for the path with curl where a plain GET does not say enough; `lost` is what no engine can judge.
    """

    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers without variables; with variables, the probe is a shell's."""
    scheme: str = "http"
    port: int = 0
    command: tuple[str, ...] = ()
    shell: str = ""
    timeout_s: float = 2.0
    lost: tuple[tuple[str, str], ...] = ()
    """Keys of the expectation, and why they do not count."""

    @property
    def is_plain_get(self) -> bool:
        """Whether a GET that fails from status 400 on asks the same."""
        return bool(self.path) and not self.shell


def probe_of(service: Service, question: Question) -> EngineProbe | None:
    """Return how another engine asks a service, None if its process alone says whether it is well."""
    asked = service.expectation(question)
    timeout_s = asked.timeout_s or service.probe_timeout_s
    if asked.command:
        lost = (("text", "the exit code of the command decides alone"),) if asked.text is not None else ()
        return EngineProbe(command=asked.command, timeout_s=timeout_s, port=service.port, lost=lost)
    if not service.listens or service.unix:
        return None
    if not asked.path:
        return EngineProbe(port=service.port, scheme="tcp", timeout_s=timeout_s)
    needs_shell = (
        asked.method != "GET" or asked.text is not None or asked.status is not None or header_variables(asked.headers)
    )
    return EngineProbe(
        path=asked.path,
        headers=tuple(asked.headers.items()),
        scheme=service.scheme,
        port=service.port,
        shell=curl_script(service, asked, host="127.0.0.1") if needs_shell else "",
        timeout_s=timeout_s,
        lost=tuple(_lost(service, asked)),
    )


def curl_words(probe: EngineProbe, *, host: str, insecure: bool) -> tuple[str, ...]:
    """Return the command that asks for a path: it fails from status 400 on."""
    headers = (word for name, value in probe.headers for word in ("-H", f"{name}: {value}"))
    flags = "-fsSk" if insecure else "-fsS"
    url = f"{probe.scheme}://{host}:{probe.port}{probe.path}"
    return ("curl", flags, "--max-time", f"{probe.timeout_s:g}", *headers, url)


def curl_script(service: Service, asked: Expectation, *, host: str) -> str:
    """Return a line for a shell that asks for a path and judges its status and body as the manifest does."""
    url = f"{service.scheme}://{host}:{service.port}{asked.path}"
    timeout_s = asked.timeout_s or service.probe_timeout_s
    words = ["curl", "-sSk" if service.scheme == "https" else "-sS", "--max-time", f"{timeout_s:g}"]
    if asked.method != "GET":
        words += ["-I"] if asked.method == "HEAD" else ["-X", asked.method]
    line = " ".join(words)
    for name, value in asked.headers.items():
        line += f" -H {_header_word(f'{name}: {value}')}"
    line += f" {shlex.quote(url)}"
    steps = []
    if asked.status is not None or asked.text is None:
        pattern = _status_pattern(asked.status)
        steps.append(f"case $({line} -o /dev/null -w '%{{http_code}}') in {pattern}) ;; *) exit 1 ;; esac")
    if asked.text is not None:
        steps.append(f"{line} | grep -Eq -e {shlex.quote(asked.text)}")
    return " && ".join(steps)


def _header_word(text: str) -> str:
    """Return a header as a word of a shell in which its variables are filled in."""
    before, found, rest = text.partition(_REFERENCE)
    quoted = shlex.quote(before) if before else ""
    if not found:
        return quoted
    name, _, after = rest.partition("}")
    return f'{quoted}"${{{name}}}"{_header_word(after)}'


def _status_pattern(status: Statuses | None) -> str:
    if status is None:
        return "2??"
    if isinstance(status, str):
        return f"{status[0]}??"
    return str(status) if isinstance(status, int) else "|".join(map(str, status))


def _lost(service: Service, asked: Expectation) -> list[tuple[str, str]]:
    lost = []
    if asked.json:
        lost.append(("json", "the engines do not read JSON: the status decides"))
    if not asked.decides and service.health_answer == "status":
        lost.append(("health_answer", "the engines do not read the body: any status below 400 is well"))
    return lost

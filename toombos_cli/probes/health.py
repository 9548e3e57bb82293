"""Asks one service whether it is well, ready or alive: over HTTP, by a connection, or by a command of its own."""

from collections.abc import Mapping

from msgspec.structs import replace

from toombos_cli.base.redaction import Redactor
from toombos_cli.base.text import one_line
from toombos_cli.manifest.tables.expectations import Expectation, ProbeSetting, filled_headers, header_variables
from toombos_cli.manifest.tables.health_words import dictionary
from toombos_cli.manifest.tables.service import Question, Service
from toombos_cli.probes.endpoint import endpoint_of
from toombos_cli.probes.http import probe_http
from toombos_cli.probes.judge import Expects, judge_health
from toombos_cli.probes.reach import may_receive
from toombos_cli.probes.result import Cause, ProbeResult, Reason
from toombos_cli.probes.tcp import probe_tcp

_UNAUTHORIZED = (401, 403)
_BAD_REQUEST = 400


NOTHING = ProbeSetting()


def sends_variables(service: Service, question: Question, setting: ProbeSetting) -> tuple[str, ...]:
    """Return the variables that are set and would be sent with the question."""
    used = header_variables(service.expectation(question).headers)
    return tuple(name for name in used if setting.values.get(name))


def probe_health(
    service: Service,
    *,
    question: Question = "health",
    setting: ProbeSetting = NOTHING,
    timeout_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int | None = None,
) -> ProbeResult:
    """Return the judged response, SLOW above the service's latency threshold. Default timeout: the service's own.

    `headers` are sent as well, and `max_body_bytes` is a lower limit than the manifest's. Raise OperationError if this
    machine cannot probe.
    """
    expectation = service.expectation(question)
    limit_s = timeout_s or expectation.timeout_s or service.probe_timeout_s
    if expectation.command:
        from toombos_cli.probes.command import run_command

        return run_command(service, replace(expectation, timeout_s=limit_s), setting.values)
    if service.scheme == "tcp":
        return _accepted(service, limit_s)
    kept, unset = filled_headers(expectation.headers, setting.values)
    url = service.url + expectation.path
    sent = sends_variables(service, question, setting)
    if sent and not may_receive(service, is_allowed=setting.may_leave):
        remedy = f'if it may have them: allowed_targets = ["{service.host}"] under [load]'
        problem = f"{', '.join(sent)} would be sent to {service.host}, which is not this machine"
        detail = f"{problem}: nothing was sent; {remedy}"
        return ProbeResult(url=url, reason=Reason.ERROR, detail=one_line(detail))
    result = probe_http(
        url,
        method=expectation.method,
        headers={**kept, **(headers or {})},
        timeout_s=limit_s,
        slow_after_ms=service.latency_warn_ms,
        max_body_bytes=min(expectation.body_max, max_body_bytes or expectation.body_max),
        endpoint=endpoint_of(service),
    )
    judged = judge_health(
        result,
        expectation,
        expects=_expects(service, question),
        words=dictionary((service.words, expectation.words)),
        slow_after_ms=service.latency_warn_ms,
    )
    told = replace(judged, detail=_with_remedy(service, expectation, judged, unset))
    return _without(told, {name: setting.values[name] for name in sent})


def service_headers(service: Service, setting: ProbeSetting) -> dict[str, str]:
    """Return the service's own headers for any request to it; without those whose variables may not leave."""
    kept, _ = filled_headers(service.headers, setting.values)
    used = [name for name in header_variables(service.headers) if setting.values.get(name)]
    return {} if used and not may_receive(service, is_allowed=setting.may_leave) else kept


def _expects(service: Service, question: Question) -> Expects:
    """Return how strictly a body is read: `status` is about the health route alone."""
    if question == "health" or getattr(service, question) is None or service.health_answer == "page":
        return service.health_answer
    return "any"


def _accepted(service: Service, timeout_s: float) -> ProbeResult:
    result = probe_tcp(service.host, service.port, timeout_s=timeout_s)
    late_ms = result.latency_ms if result.reason is Reason.OK else None
    if late_ms is None or late_ms <= service.latency_warn_ms:
        return result
    detail = f"accepted after {late_ms:.0f} ms, more than {service.latency_warn_ms:.0f} ms"
    return replace(result, reason=Reason.SLOW, detail=detail)


def _with_remedy(service: Service, expectation: Expectation, result: ProbeResult, unset: tuple[str, ...]) -> str:
    """Return the detail, with what to write in the manifest where the response shows it."""
    table = f"[services.{service.name}]"
    remedy = ""
    if result.cause is Cause.WEB_PAGE:
        remedy = f"if that is intended: health_answer = 'page' in {table}"
    elif result.cause is Cause.NOT_HTTP:
        remedy = f"if it speaks no HTTP: scheme = 'tcp' in {table}"
    elif result.reason is Reason.STATUS and result.http_status in _UNAUTHORIZED and unset:
        remedy = f"{' and '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set, so no header was sent"
    elif result.reason is Reason.STATUS and result.http_status == _BAD_REQUEST:
        named = {name.lower() for name in expectation.headers}
        if "host" not in named:
            remedy = f"if it serves only its own host names: headers = {{ Host = 'NAME' }} in {table}"
    elif result.reason is Reason.STATUS and (location := result.header("location")):
        remedy = _remedy_of_redirect(service, expectation, location, table)
    return one_line(f"{result.detail}; {remedy}") if remedy else result.detail


def _remedy_of_redirect(service: Service, expectation: Expectation, location: str, table: str) -> str:
    """Return what makes a redirect needless, by where it leads."""
    from urllib.parse import urlsplit

    try:
        there = urlsplit(location)
        host = there.hostname
    except ValueError:
        return ""
    if there.scheme == "https" and service.scheme == "http":
        return f"if its proxy sends these: headers = {{ Host = '{host}', X-Forwarded-Proto = 'https' }} in {table}"
    if host and host != service.host:
        return f"if it serves only that host name: headers = {{ Host = '{host}' }} in {table}"
    if there.path and there.path != expectation.path:
        expected = f"{{ path = '{expectation.path}', status = '3xx' }}"
        return f"name the path that it redirects to, or expect it: health = {expected} in {table}"
    return ""


def _without(result: ProbeResult, secrets: Mapping[str, str]) -> ProbeResult:
    """Return the result with no secret that was sent in its texts: a server may repeat what it got."""
    if not secrets:
        return result
    redactor = Redactor(sorted(secrets.items()))
    return replace(result, detail=redactor.text(result.detail), note=redactor.text(result.note))

"""Recognises secrets that nobody has named: by the key in front of them, by their place in a URL, header, command line
or record, and by their form.

Every function replaces what it finds by what `token` returns for it and keeps the text around it.
"""

import re
from collections.abc import Callable
from itertools import pairwise

Token = Callable[[str], str]

# Patterns are plain text, which re compiles on first use: most commands never see a line with one of these words.
WORDS = (
    r"api[ _-]?key|secret[_-]?key|access[_-]?key|secret|token|passw(?:or)?d|passphrase|[_-]pass|bind[_-]?pw"
    r"|credentials?|private[_-]?key|encryption[_-]?key|auth[_-]?key|account[_-]?key|requirepass|masterauth"
    r"|(?:shared|signing|hmac|master|storage|license|subscription|session)[_-]?key|client[_-]?key(?:[_-]data)?"
)
SUFFIXES = r"(?:_json|_b64|_base64|_base|_old|_new|_v?\d+)?"
"""The suffixes that may follow such a word."""
_IF_RANDOM = r"sig(?:nature)?|session(?:[_-]?id)?|sid|auth|code|response|private_key_id"
"""Names whose value is a secret only if it looks random: `code=404` is none."""
_IF_MIXED = r"pass(?:code)?|pwd|[_-]auth"
"""Names whose value is a secret only if it has letters and digits, and is no path: `PWD=/srv` is none."""
_NAME = rf"[A-Za-z0-9_.-]*?(?:{WORDS}){SUFFIXES}"
_COLOURS = r"(?:(?:\x1b|\\x1b|\\u001b|\\033|\\e)\[[\d;]*m)*"
_FIELD = rf"""(?imx)
    (?<![A-Za-z0-9_.-]) (?:
        (?P<name> {_NAME} ) (?P<plural> s )? | [a-z0-9_.-]*?[_-]pwd | (?<=;)pwd | (?<=[?&])(?:x-\w+-)?sig(?:nature)?
        | (?P<mixed> [A-Za-z0-9_.-]*? (?:{_IF_MIXED}) ) | (?P<random> [A-Za-z0-9_.-]*? (?:{_IF_RANDOM}) )
    )
    (?: \\* (?: ["'] | &(?:quot|\#34|\#39|\#x27); | %22 ) )? {_COLOURS} [^\S\r\n]*
    (?:
        (?P<encoded> %3[AD] | \\u003[ad] ) (?: %22 )?
        | (?: => | := | [:=] ) [^\S\r\n]* (?: \r?\n\s* (?=["'\[{{]) )?
        | (?<=["']) (?P<pair> , ) \s* (?=b?\\*["'])
    )
    {_COLOURS}
    """
_ENCODED = r"""(?:(?!%2[267C])[^\s&"'\\])+"""
_OPEN = r"""b?(?P<escape>\\*)(?P<quote>\"{3}|'{3}|["'])"""
_BLOCK = r"[|>][+-]?\d?[^\S\n]*(?:\#[^\n]*)?\n"
_CALL = r"""[A-Za-z_][\w.]*\((?=b?["'])"""
_WIDE = r"(?:(?![&;,][^\S\n]*\w[\w .-]*=|\x1b|\\[nrtx\"'u])\S)+"
"""A value at the start of a line: up to the next blank or the next `&name=`."""
_BARE = r"""(?:[^\s"',;&<>()\[\]{}\\\x1b]|\\(?![nrtxu"']))+"""
_LINE_START = r"(?:^|\n)[ \t]*(?:-[ \t]+)?(?:(?:export|set|setenv|declare|local)[ \t]+)?$"
_ITEM = r"""(?x) b?\\*(?P<quote>["']) (?P<item>(?:\\.|(?!(?P=quote)).)*?) (?P<end>\\*(?P=quote))
    | (?P<head>(?:[\[,({]|[:=])\s*) (?P<bare>[^\s"'\[\]{}(),:=\\]+) (?=\s*[,)\]}]) """
_LONGEST_GROUP = 20_000

_RECORD = rf"""(?ix)
    (?P<head> \b(?:name|key|env|variable|header)\\*["']?\s*[:=]\s*\\*["']? {_NAME} \\*["']? \s*,?\s*
        \\*["']?\b(?:value|val|default)\\*["']?\s*[:=]\s* )
    (?: (?P<quote>\\*["']) (?P<quoted>.*?) (?P=quote) | (?P<bare>[^\s"',;}}\]]+) )
    """
"""A name and its value in fields of their own: `{{"name": "DB_PASSWORD", "value": "..."}}`."""
_OPTION = rf"""(?ix)
    (?P<head> (?<!\S) --?[a-z0-9_.-]*? (?:{WORDS}) \s+ )
    (?! -|is\b ) (?: (?P<quote>["']) (?P<quoted>[^"'\n]*) (?P=quote) | (?P<value>[^\s"';,]+) )
    """
_COMMANDS = r"""(?x)
    (?P<head>
        \bcurl\b [^\n]{0,300}? \s(?:-u|--user) [\s=]* ["']? [^\s:'"]+ : | (?<!\S)-u\s+ ["']? [^\s:'"]+ : (?=\D)
        | \b sshpass \s [^\n]{0,300}? -p \s*
        | \b (?:mysql|mariadb)\w* \s [^\n]{0,300}? (?<!\S)-p ["']? (?=\S)
        | \b (?:mongo\w*|docker\s+login) \s [^\n]{0,300}? (?<!\S)-p \s+
        | \b redis-cli \s [^\n]{0,300}? (?<!\S)-a \s+
        | \b (?:ldap\w+) \s [^\n]{0,300}? (?<!\S)-w \s+
        | \b (?:zip|unzip|sqlcmd) \s [^\n]{0,300}? (?<!\S)-P \s*
        | \b 7z\w? \s [^\n]{0,300}? (?<!\S)-p
        | (?<!\S) -pass(?:in|out)? \s+ pass:
    ) (?P<value> [^\s"']+ )
    """
"""Short options with a password, which only their program gives that meaning."""
_SAID = (
    r"""(?i)((?:\b|(?<=\\[nrt]))(?:passw(?:or)?d|passphrase|secret|token|requirepass|masterauth|bindpw|api[ _-]key)"""
    r"""\s+(?:(?:is|was)\s+)?)"""
    r"""([^\s"'<>,;:=()]{6,})"""
)
_SQL = r"""(?i)(\b(?:passw(?:or)?d|identified\s+by)\s+['"])([^\s'"]{4,})(?=['"])"""
"""Statements that set a password, as databases log them, and messages that quote a rejected one."""
_ELEMENT = rf"(?i)((?:<(?:\w+:)?{_NAME}(?:\s[^<>]*)?|=[\"']{_NAME}[\"']\s*)>)([^<>]+)(?=</)"
_INPUT = rf"(?im)(^{_NAME}\s*\n[^\n]*\binput_value=)((?:'[^']*'|\"[^\"]*\")|[^\s,\]]+)"
"""The value that pydantic quotes below the name of a field."""
_PGPASS = r"(?m)^([\w.*-]+:(?:\d+|\*):[^:\s]+:[^:\s]+:)(\S+)$"
_AUTHORIZATION = (
    r"""(?i)((?:proxy-)?authorization\\?["']?\s*[:=,]\s*(?:b(?=["']))?\\?["']?)"""
    r"""((?:bearer|basic|token|api-?key|negotiate|ntlm)\s+)?(?!(?:digest|aws4-\S+)\s)([^\s"'\\,;]+)"""
)
_COOKIES = r"""(?i)(?<![\w-])(?:set-)?cookie\\?["']?\s*[:=,]\s*(?:b(?=["']))?\\?["']?\w[^\r\n"']*"""
_COOKIE = r"(=)([^\s;=\\]+)"
_BEARER = r"(?i)(?:\b|(?<=\\[nrt]))(bearer\s+)([A-Za-z0-9._~+/=-]{8,})"
_START = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt]))"
"""The beginning of a word, also after an escaped line end."""
_SHAPES = (
    rf"{_START}(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}\b|gh[opsur]_\w{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[abeprs]-[\w-]{10,}"
    r"|xapp-[\w-]{20,}|[rs]k_(?:live|test)_\w{16,}|whsec_\w{16,}|eyJ[\w-]{10,}\.eyJ[\w-]{5,}\.[\w-]+"
    r"|sk-(?=[\w-]*\d)[\w-]{20,}|npm_\w{36}|pypi-[\w-]{16,}|hv[sb]\.[\w-]{20,}|dop_v1_\w{16,}|AIza[\w-]{35}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,}|hf_[A-Za-z]{30,}|gl(?:sa|c)_\w{20,}"
    r"|(?:SK|AC|key-|dapi|shp(?:at|ss|ca|pa)_)[0-9a-f]{32}\b|AGE-SECRET-KEY-1[0-9A-Z]{20,}"
    r"|pbkdf2_\w+\$\d+\$[^\s:\"',]+)"
    r"|(?<=/bot)\d{6,}:[\w-]{30,}|(?<=hooks\.slack\.com/services/)[\w/-]+|(?<=/api/webhooks/)\d+/[\w-]+"
    r"|\$(?:apr1|1|2[abxy]|5|6|y|7|argon2(?:id?|d)|scrypt)\$[^\s:\"',]{16,}"
)
"""Tokens in the recognisable formats of their issuers (see their secret scanning docs), and password hashes."""
_IN_SHAPES = (
    *("akia", "asia", "ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat", "glsa_", "glc_", "xox", "xapp"),
    *("k_live_", "k_test_", "whsec_", "eyj", "hooks", "sk", "npm_"),
    *("pypi-", "hvs.", "hvb.", "dop_v1_", "aiza", "sg.", "/bot", "gocspx-", "ya29.", "ac", "key-", "dapi", "shp"),
    *("hf_", "age-secret", "$"),
)
_PEM = r"(?s)(?P<begin>-----BEGIN [A-Z0-9 ]+-----)(?P<body>.+?)(?P<end>-----END [A-Z0-9 ]+-----|\Z)"
_PEM_LINE = r"(?P<head>^.*?)(?P<body>[A-Za-z0-9+/]{16,}={0,2}|[A-Za-z0-9+/]+={1,2})(?=[\s\"'\\,]*$)"
_BLOB = r"(?<![A-Za-z0-9+/_=.-])(?:[A-Za-z0-9+/_-]{40,}={0,2}|[A-Za-z0-9+/_-]{20,}={1,2}(?![\w=]))"
_PUBLIC = re.compile(r"AAAA[A-Z]\d[A-Za-z]|sha\d+-")
"""The beginning of a public SSH key, and of the hash of a file."""
_USERINFO = r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)(?P<userinfo>[^\s/?#\"'<>]+)@"
_INNER_USERINFO = r"(?i)(%3A%2F%2F[^\s%@:/]*%3A)((?:(?!%40|%2F|%26)[^\s&\"'])+)(?=%40)"
_ORACLE = r"(?i)(\bjdbc:oracle:\w+:[^\s/@]+/)([^\s@]+)(?=@)"
_HOOK = r"""(?i)https?://[^\s"'<>]*hook[^\s"'<>]*"""
_SEGMENT = r"(?<=[/@])[A-Za-z0-9_-]{20,}(?=[/?@]|$)"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_IN_NAMES = ("key", "secret", "token", "pass", "credential", "pwd", "bindpw", "masterauth", "bind_pw", "bind-pw")
_IN_RANDOM = ("sig", "sid", "session", "auth", "code", "response")
_SEPARATORS = ("=", ":", ",", "%3", "\\u003")
"""What stands between a name and its value."""
_IN_COMMANDS = (" -p", " -a ", " -w ", "-u", "curl ", " -P", "-pass")


def replace_unknown(text: str, token: Token) -> str:
    """Return the text with the secrets replaced that only their context or form gives away."""
    lower = text.lower()  # most lines contain none of the words, and a substring search is cheaper than a regex
    if "-----begin" in lower:
        text = re.sub(_PEM, lambda m: f"{m['begin']}{token(m['body'])}{m['end']}", text)
    separated = any(sign in lower for sign in _SEPARATORS)
    if separated and "authorization" in lower:
        text = re.sub(_AUTHORIZATION, lambda m: f"{m[1]}{m[2] or ''}{token(m[3])}", text)
    if "bearer" in lower:
        text = re.sub(_BEARER, lambda m: f"{m[1]}{token(m[2])}", text)
    if separated and "cookie" in lower:
        text = re.sub(_COOKIES, lambda m: re.sub(_COOKIE, lambda n: f"{n[1]}{token(n[2])}", m[0]), text)
    if named := any(word in lower for word in _IN_NAMES):
        text = _in_names(text, token)
    if separated and (named or any(word in lower for word in _IN_RANDOM)):
        text = _in_fields(text, token)
    if any(word in text for word in _IN_COMMANDS):
        text = re.sub(_COMMANDS, lambda m: m["head"] + token(m["value"]), text)
    if "passw" in lower or "identified" in lower:
        text = re.sub(_SQL, lambda m: m[1] + token(m[2]), text)
    if any(word in lower for word in _IN_SHAPES):
        text = re.sub(_SHAPES, lambda m: token(m[0]), text)
    if "://" in lower or "%3a%2f%2f" in lower or "jdbc:" in lower:
        text = _in_urls(text, token)
    if lower.count(":") >= 4:
        text = re.sub(_PGPASS, lambda m: m[1] + token(m[2]) if is_mixed(m[2]) else m[0], text)
    return re.sub(_BLOB, lambda m: _blob(m, token), text) if len(lower) >= 20 else text


def block_left_open(text: str) -> bool | None:
    """Report whether a PEM block is open after this line: True begins one, False ends one, None changes nothing."""
    begin, end = text.rfind("-----BEGIN "), text.rfind("-----END ")
    return None if begin == end else begin > end


def replace_block_line(line: str, token: Token) -> str:
    """Return a line inside a PEM block without its part of the block."""
    return re.sub(_PEM_LINE, lambda m: m["head"] + token(m["body"]), line, count=1)


def is_random(value: str) -> bool:
    """Report whether a text has the form of a random key: 32 hexadecimal digits, or 16 characters of mixed kinds."""
    if re.fullmatch(r"(?=.*\d)[0-9a-fA-F]{32,}", value):
        return True
    return len(value) >= 16 and all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", r"\d"))


def is_mixed(value: str) -> bool:
    """Report whether a text looks like a password rather than a word or a version: letters and digits, no date."""
    word = value.rstrip(".!?")
    return len(word) >= 6 and bool(re.search(r"[a-z]", word) and re.search(r"\d", word)) and "/" not in word


def _blob(match: re.Match[str], token: Token) -> str:
    """Replace a long run of base64 that is as irregular as a key, but no path, identifier, hash or image."""
    blob, before = match[0], match.string[max(0, match.start() - 7) : match.start()]
    if not is_random(blob) or re.fullmatch(r"[0-9a-fA-F]+", blob):
        return blob
    kinds = ["u" if c.isupper() else "l" if c.islower() else "d" for c in blob if c.isalnum()]
    changes = sum(a != b for a, b in pairwise(kinds))
    is_word = min(changes, 1.6 * kinds.count("u")) < 0.4 * len(blob)
    is_public = _PUBLIC.match(blob) or before.lower().endswith(("base64,", "sha256:"))
    return blob if is_word or is_public else token(blob)


def _in_names(text: str, token: Token) -> str:
    """Replace the values that follow a name outside a field: options, sentences, records, elements."""

    def quoted_or(name: str) -> Callable[[re.Match[str]], str]:
        return lambda m: (
            m["head"] + (token(m[name]) if m[name] is not None else f"{m['quote']}{token(m['quoted'])}{m['quote']}")
        )

    lower = text.lower()
    if "val" in lower or "default" in lower:
        text = re.sub(_RECORD, quoted_or("bare"), text)
    if "input_value" in lower:
        text = re.sub(_INPUT, lambda m: m[1] + token(m[2].strip("'\"")), text)
    if "-" in text and any(map(str.isspace, text)):
        text = re.sub(_OPTION, quoted_or("value"), text)
    text = re.sub(_SAID, lambda m: m[1] + token(m[2]) if is_mixed(m[2]) else m[0], text)
    return re.sub(_ELEMENT, lambda m: m[1] + token(m[2]), text) if "</" in text else text


def _in_urls(text: str, token: Token) -> str:
    def userinfo(match: re.Match[str]) -> str:
        user, colon, password = match["userinfo"].partition(":")
        if not colon and not match["scheme"].lower().startswith("http") and re.fullmatch(r"[A-Za-z_][\w.-]*", user):
            return match[0] if not is_random(user) else f"{match['scheme']}{token(user)}@"
        return f"{match['scheme']}" + (f"{user}:{token(password)}@" if colon else f"{token(user)}@")

    text = re.sub(_USERINFO, userinfo, text)
    lower = text.lower()
    if "%3a" in lower:
        text = re.sub(_INNER_USERINFO, lambda m: m[1] + token(m[2]), text)
    if "jdbc:" in lower:
        text = re.sub(_ORACLE, lambda m: m[1] + token(m[2]), text)

    def segment(match: re.Match[str]) -> str:
        part = match[0]
        return token(part) if is_random(part) and not re.fullmatch(_UUID, part) else part

    return re.sub(_HOOK, lambda m: re.sub(_SEGMENT, segment, m[0]), text) if "hook" in lower else text


def _in_fields(text: str, token: Token) -> str:
    """Replace the value after each name that sounds secret: a word, a quoted text, a block, a list or an object."""
    pieces, at = [], 0
    for head in re.finditer(_FIELD, text):
        if head.start() < at:
            continue
        end, value = _value_after(text, head, token)
        pieces += [text[at : head.end()], value]
        at = end
    return "".join((*pieces, text[at:])) if pieces else text


def _value_after(text: str, head: re.Match[str], token: Token) -> tuple[int, str]:
    """Return where the value that begins after `head` ends, and what is shown instead of it."""
    at = head.end()
    needs_random = head["random"] is not None

    def shown(value: str) -> str:
        if (needs_random and not is_random(value)) or ((head["pair"] or head["mixed"]) and not is_mixed(value)):
            return value
        return token(value)

    if head["encoded"]:
        found = re.compile(_ENCODED).match(text, at)
        return (found.end(), shown(found[0])) if found else (at, "")
    group = re.compile(r"[\[{]|" + _CALL).match(text, at)
    if group is not None and not needs_random and not text.startswith("${", at - 1):
        end = _end_of_group(text, group.end())
        return end, re.sub(_ITEM, lambda m: _item(m, token), text[at:end])
    if head["plural"]:
        return at, ""
    if opened := re.compile(_OPEN).match(text, at):
        end, close = _end_of_quoted(text, opened)
        return close, opened[0] + shown(text[opened.end() : end]) + text[end:close]
    if block := re.compile(_BLOCK).match(text, at):
        end = _end_of_block(text, head.start(), block.end())
        return end, block[0] + _indent(text[block.end() : end]) + shown(text[block.end() : end].strip()) + "\n"
    starts_line = re.search(_LINE_START, text[max(0, head.start() - 80) : head.start()])
    bare = re.compile(_WIDE if starts_line else _BARE).match(text, at)
    if bare is None:
        return at, ""
    value = bare[0].rstrip(",;") if starts_line else bare[0]
    return at + len(value), shown(value)


def _item(match: re.Match[str], token: Token) -> str:
    if match["bare"] is not None:
        return match["head"] + token(match["bare"])
    whole, item = match[0], match["item"]
    if re.match(r"\s*(?:=>|[:=])", match.string[match.end() :]):
        return whole  # a key
    start = match.start("item") - match.start()
    return whole[:start] + token(item) + whole[start + len(item) :]


def _end_of_group(text: str, at: int) -> int:
    """Return the place after the bracket that closes the group whose content begins at `at`, or the text's end."""
    depth, quote, limit = 1, "", min(len(text), at + _LONGEST_GROUP)
    while at < limit:
        char = text[at]
        if quote:
            quote = "" if char == quote and text[at - 1] != "\\" else quote
        elif char in "\"'":
            quote = char if text[at - 1] != "\\" else ""
        elif char in "[{(":
            depth += 1
        elif char in "]})":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return at


def _end_of_quoted(text: str, opened: re.Match[str]) -> tuple[int, int]:
    """Return where a quoted text ends, and the place after its closing quote; the end of the line if it has none."""
    quote, escape = opened["quote"], opened["escape"]
    if escape:
        close = rf"(?<!\\){re.escape(escape + quote)}"
        found = re.compile(close).search(text, opened.end())
    elif len(quote) == 3:
        found = re.compile(quote).search(text, opened.end())
    else:
        doubled = "''|" if quote == "'" else ""
        whole = re.compile(rf"(?:\\.|{doubled}[^\\{quote}\n])*").match(text, opened.end())
        end = whole.end() if whole else opened.end()
        return end, end + text.startswith(quote, end)
    if found is None:
        end = text.find("\n", opened.end()) if len(quote) == 1 else -1
        end = len(text) if end < 0 else end
        return end, end
    return found.start(), found.end()


def _end_of_block(text: str, head: int, at: int) -> int:
    """Return where a YAML block ends: before the first line that is not indented more than the line of its key."""
    start = text.rfind("\n", 0, head) + 1
    margin = len(_indent(text[start:head]))
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end + 1
        line = text[at:end]
        if line.strip() and len(_indent(line)) <= margin:
            break
        at = end
    return at


def _indent(text: str) -> str:
    return text[: len(text) - len(text.lstrip(" \t"))]

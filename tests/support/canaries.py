"""Spellings of secrets that no output may show, and innocent texts that must stay readable.

The secrets are joined from pieces so that no scanner of repositories takes them for real ones.
"""

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One text that holds a secret: what it is, the text, the parts that must vanish, and what was known before."""

    name: str
    text: str
    secrets: tuple[str, ...]
    known: tuple[str, ...] = ()


def _spelled(name: str, text: str, *secrets: str, known: tuple[str, ...] = ()) -> Canary:
    return Canary(name=name, text=text, secrets=secrets, known=known)


_B64 = "mQ7xV2kLr9TzWc4HnB8yPd1SfJ6gUaE3oXiK5vNtRwYbZqM0"
_HEX32 = "9f3c71e6a8d240b5c7e1f8a3d6b92c04"
_HEX40 = "7d1e94b3c6a0f8527e9d3b1c4a6f805e2d7c9b3a"
_HEX64 = "c41f7e9a2b6d8035f1e7a9c3b5d20468e0f2a4c6b8d1937557391d8b6c4a2f0e"
_WORD = "Vq8-Tz4_Lm9xRw2KpHd6"
_PLAIN = "tr0ub4dor-and-3-zebras"
_LINES = (
    "MIIEowIBAAKCAQEAx7Kq2vT9LmWc4HnB8yPd1SfJ6gUaE3oXiK5vNtRwYbZqM0Fh",
    "Qd8ZpL3sVn6YtC1rXe9KwB5gTjU2mHaO7iDfS4zNqEoJ0lGvRyPkM8bWcTxI6uA3",
    "pZ9e5RfYtKd2LsQwXn7VbGmHjC4oUi1aTE8=",
)


def _pem(kind: str, newline: str = "\n") -> str:
    return newline.join((f"-----BEGIN {kind}-----", *_LINES, f"-----END {kind}-----", ""))


_JWT = (
    "eyJ" + "hbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
    "eyJ" + "zdWIiOiI0MiIsIm5hbWUiOiJKYW5lIn0",
    "kX8vQm2ZrT7yLw4HnB9cPd1SfJ6gUaE3oXiK5vNtRwY",
)
_QUOTED = 'it\'s "4" odd$words;'
_UNICODE = "Grün-Σίσυφος-7Ω"
_KNOWN = "S0me-Kn0wn/Secret+Value="
_MULTILINE = "first-Line8Zq\nsecond-Line4Wm"

CANARIES: tuple[Canary, ...] = (
    # Cloud providers
    _spelled("an AWS access key id", "using AKIA" + "Z7QK3M5X2W9P4R8T for s3", "Z7QK3M5X2W9P4R8T"),
    _spelled("an AWS secret in an ini file", f"aws_secret_access_key = {_B64[:40]}", _B64[:40]),
    _spelled("an AWS session token in the environment", f"AWS_SESSION_TOKEN=FwoGZXIvYXdzE{_B64}", _B64),
    _spelled(
        "an AWS presigned URL",
        f"GET https://b.s3.amazonaws.com/a.zip?X-Amz-Credential=ASIA{'Q4WE5RT6YU7IO8PA'}%2F20261128&"
        f"X-Amz-Security-Token={_B64}&X-Amz-Signature={_HEX64}",
        _HEX64,
        _B64,
    ),
    _spelled(
        "a Google API key", "key AIza" + "SyD3kQ9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE ok", "SyD3kQ9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE"
    ),
    _spelled("a Google signed URL", f"https://storage.googleapis.com/b/o?X-Goog-Signature={_HEX64}", _HEX64),
    _spelled(
        "a Google service account",
        json.dumps({"type": "service_account", "private_key_id": _HEX40, "private_key": _pem("PRIVATE KEY")}),
        *_LINES,
        _HEX40,
    ),
    _spelled(
        "a Google OAuth client secret",
        "client GOCSPX-" + "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gU",
        "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gU",
    ),
    _spelled("a Google refresh token", f"refresh_token=1//0g{_WORD}", _WORD),
    _spelled(
        "an Azure SAS URL",
        f"https://a.blob.core.windows.net/c?sv=2024-11-04&se=2026-12-01&sig={quote(_B64[:43] + '=')}",
        _B64[:43],
    ),
    _spelled(
        "an Azure storage connection string",
        f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={_B64}{_B64[:38]}==;EndpointSuffix=core.windows.net",
        _B64,
    ),
    _spelled(
        "an Azure service bus string",
        f"Endpoint=sb://b.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey={_B64[:43]}=",
        _B64[:43],
    ),
    _spelled("a DigitalOcean token", f"auth dop_v1_{_HEX64}", _HEX64),
    # Tokens with a form of their own
    _spelled("a JSON web token in a sentence", f"refused {'.'.join(_JWT)} as expired", _JWT[1], _JWT[2]),
    _spelled(
        "a GitHub personal token",
        "remote said ghp_" + "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5",
        "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5",
    ),
    _spelled(
        "a GitHub fine-grained token",
        "github_pat_" + "11ABCDEFG0k9vXm7ZrT2yL_w8HnB4cPd6SfJ1gUaE3oXiK5vNtRwYbZqM0",
        "w8HnB4cPd6SfJ1gUaE3oXiK5vNtRwYbZqM0",
    ),
    _spelled("a GitLab token", "glpat-" + "vXm7ZrT2yLw8HnB4cPd6", "vXm7ZrT2yLw8HnB4cPd6"),
    _spelled(
        "an npm token in .npmrc",
        "//registry.npmjs.org/:_authToken=npm_" + "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5",
        "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5",
    ),
    _spelled(
        "a PyPI token",
        "upload with pypi-" + "AgEIcHlwaS5vcmcCJDk5ZjNjNzFlLTZhOGQtMjQwYi01YzdlLTFmOGEzZDZiOTJj",
        "OGQtMjQwYi01YzdlLTFmOGEzZDZiOTJj",
    ),
    _spelled("a Stripe key", "charge by sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "4eC39HqLyjWDarjtT1zdp7dc"),
    _spelled(
        "a Stripe webhook secret", "whsec_" + "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3o", "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3o"
    ),
    _spelled("a Twilio API key", f"SK{_HEX32} created", _HEX32),
    _spelled("a Twilio auth token", f"TWILIO_AUTH_TOKEN={_HEX32}", _HEX32),
    _spelled(
        "a Slack bot token", "xoxb-" + "123456789012-1234567890123-k9vXm7ZrT2yLw8HnB4cPd6Sf", "k9vXm7ZrT2yLw8HnB4cPd6Sf"
    ),
    _spelled(
        "a SendGrid key",
        "SG." + "k9vXm7ZrT2yLw8HnB4cPd6.SfJ1gUaE3oXiK5vNtRwYbZqM0Fh-Qd8ZpL3sVn6YtC1r",
        "SfJ1gUaE3oXiK5vNtRwYbZqM0Fh-Qd8ZpL3sVn6YtC1r",
    ),
    _spelled("a Mailgun key", f"api:key-{_HEX32}", _HEX32),
    _spelled(
        "an OpenAI key",
        "sk-proj-" + "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5vNtRwYbZqM0",
        "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5vNtRwYbZqM0",
    ),
    _spelled(
        "an Anthropic key",
        "sk-ant-" + "api03-k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5vNtRwYb-ZqM0AA",
        "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5vNtRwYb",
    ),
    _spelled(
        "a Hugging Face token",
        "pull with hf_" + "kVvXmZZrTTyLwwHnBBcPddSfJJgUaEEoXi",
        "kVvXmZZrTTyLwwHnBBcPddSfJJgUaEEoXi",
    ),
    _spelled(
        "a Vault token",
        "hvs." + "CAESIJk9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5vN",
        "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5vN",
    ),
    _spelled("a Shopify token", f"shpat_{_HEX32}", _HEX32),
    _spelled("a Databricks token", f"dapi{_HEX32}", _HEX32),
    _spelled(
        "an age key",
        "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE",
        "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    ),
    _spelled(
        "a Telegram bot URL",
        "POST https://api.telegram.org/bot123456789:AAk9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oX/sendMessage",
        "AAk9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oX",
    ),
    # Blocks over several lines
    _spelled("an RSA private key", "key:\n" + _pem("RSA PRIVATE KEY"), *_LINES),
    _spelled("an OpenSSH private key", _pem("OPENSSH PRIVATE KEY"), *_LINES),
    _spelled("a certificate", _pem("CERTIFICATE"), *_LINES),
    _spelled("a PGP private key", _pem("PGP PRIVATE KEY BLOCK"), *_LINES),
    _spelled("a private key on one line of JSON", json.dumps({"pem": _pem("EC PRIVATE KEY")}), *_LINES),
    _spelled("a private key with Windows lines", _pem("RSA PRIVATE KEY", "\r\n"), *_LINES),
    _spelled(
        "a private key indented in YAML",
        "tls:\n  crt: |\n" + "".join(f"    {line}\n" for line in _pem("PRIVATE KEY").splitlines()),
        *_LINES,
    ),
    _spelled("a private key without its end", "\n".join(_pem("PRIVATE KEY").splitlines()[:-1]), *_LINES),
    _spelled(
        "a private key logged line by line with a prefix",
        "".join(f"2026-11-28 INFO {line}\n" for line in _pem("RSA PRIVATE KEY").splitlines()),
        *_LINES,
    ),
    # URLs
    _spelled("a password in a URL", f"postgresql://app:{_PLAIN}@db:5432/shop is down", _PLAIN),
    _spelled(
        "a percent-encoded password in a URL",
        "mysql://app:p%40ss%2Fw0rd%3A7x@db/shop",
        "p%40ss%2Fw0rd%3A7x",
        "p@ss/w0rd:7x",
    ),
    _spelled("a password with an at sign in a URL", "mysql://app:pre@fix7word@db/shop", "fix7word"),
    _spelled("a token as the user of a URL", f"fetch https://{_WORD}@git.example.com/x.git", _WORD),
    _spelled("a password without a user in a URL", f"redis://:{_PLAIN}@cache:6379/0", _PLAIN),
    _spelled("a MongoDB URL", f"mongodb+srv://app:{_PLAIN}@c0.x.mongodb.net/?retryWrites=true", _PLAIN),
    _spelled("an AMQP URL", f"amqps://worker:{_PLAIN}@mq/vhost", _PLAIN),
    _spelled("an SMTP URL", f"smtp://mail%40example.com:{_PLAIN}@smtp.example.com:587", _PLAIN),
    _spelled("a git remote", f"origin\thttps://oauth2:{_WORD}@gitlab.com/a/b.git (fetch)", _WORD),
    _spelled("a Sentry DSN", f"https://{_HEX32}@o42.ingest.sentry.io/77", _HEX32),
    _spelled("a key in a query", f"GET /v1/items?page=2&api_key={_WORD}&sort=asc", _WORD),
    _spelled("a token in a fragment", f"https://app.example.com/cb#access_token={_WORD}&state=1", _WORD),
    _spelled(
        "a password in a form body", "username=jane&password=h%21dden%26w0rd&next=/", "h%21dden%26w0rd", "h!dden&w0rd"
    ),
    _spelled("a URL inside a URL", f"GET /go?next={quote(f'https://jane:{_PLAIN}@h/', safe='')}", _PLAIN),
    _spelled(
        "a Slack webhook",
        "https://hooks.slack.com/services/T02ABCDEF/B03GHIJKL/" + "k9vXm7ZrT2yLw8HnB4cPd6Sf",
        "k9vXm7ZrT2yLw8HnB4cPd6Sf",
    ),
    _spelled("a Discord webhook", f"https://discord.com/api/webhooks/112233445566778899/{_B64}_{_WORD}", _B64, _WORD),
    _spelled(
        "a Teams webhook",
        f"https://acme.webhook.office.com/webhookb2/11111111-2222-4333-8444-555555555555@66666666-7777-4888-9999-000000000000/IncomingWebhook/{_HEX32}/aaaa",
        _HEX32,
    ),
    _spelled(
        "a one-time password seed",
        "otpauth://totp/Acme:jane?secret=JBSWY3DPEHPK3PXPJBSWY3DP&issuer=Acme",
        "JBSWY3DPEHPK3PXPJBSWY3DP",
    ),
    _spelled("an Oracle JDBC URL", f"jdbc:oracle:thin:scott/{_PLAIN}@//db:1521/x", _PLAIN),
    _spelled("a SQL Server JDBC URL", f"jdbc:sqlserver://db;user=sa;password={_PLAIN};encrypt=true", _PLAIN),
    _spelled("a PostgreSQL JDBC URL", f"jdbc:postgresql://db/shop?user=app&password={_PLAIN}&ssl=true", _PLAIN),
    _spelled("an ADO connection string", f"Server=db;Database=x;User Id=sa;Pwd={_PLAIN};", _PLAIN),
    # Connection keywords
    _spelled("libpq keywords", f"host=db user=app password={_PLAIN} dbname=shop", _PLAIN),
    _spelled("quoted libpq keywords", r"host=db password='sp ace\'d w0rd' dbname=shop", "sp ace", "d w0rd"),
    # Headers
    _spelled(
        "basic authentication",
        "Authorization: Basic " + base64.b64encode(f"jane:{_PLAIN}".encode()).decode(),
        base64.b64encode(f"jane:{_PLAIN}".encode()).decode(),
    ),
    _spelled("an opaque bearer token", f"authorization: Bearer {_WORD}", _WORD),
    _spelled("a bearer token in a sentence", f"sent Bearer {_WORD} upstream", _WORD),
    _spelled("a token scheme of its own", f"Authorization: Token {_WORD}", _WORD),
    _spelled(
        "digest authentication",
        f'Authorization: Digest username="jane", realm="x", nonce="n", response="{_HEX32}"',
        _HEX32,
    ),
    _spelled("a proxy's authorization", f"Proxy-Authorization: Bearer {_WORD}", _WORD),
    _spelled("a cookie", f"Cookie: theme=dark; sessionid={_HEX32}; lang=en", _HEX32),
    _spelled("a cookie that is set", f"Set-Cookie: PHPSESSID={_WORD}; Path=/; HttpOnly", _WORD),
    _spelled("a signed cookie", f"set-cookie: connect.sid=s%3A{_WORD}.{_B64}; Path=/", _WORD, _B64),
    _spelled("an API key header", f"X-Api-Key: {_WORD}", _WORD),
    _spelled(
        "headers as pairs",
        f"[(b'host', b'x'), (b'authorization', b'Bearer {_WORD}'), (b'x-api-key', b'{_PLAIN}')]",
        _WORD,
        _PLAIN,
    ),
    _spelled("headers as a mapping", f"{{'accept': '*/*', 'X-Auth-Token': '{_PLAIN}'}}", _PLAIN),
    # Command lines
    _spelled("--password VALUE", f"mysqldump --user app --password {_PLAIN} shop", _PLAIN),
    _spelled("--password=VALUE", f"mongo --password={_PLAIN} shop", _PLAIN),
    _spelled("-p VALUE of sshpass", f"sshpass -p {_PLAIN} ssh jane@host", _PLAIN),
    _spelled("-pVALUE of mysql", f"mysql -u root -p{_PLAIN} shop", _PLAIN),
    _spelled("-a VALUE of redis-cli", f"redis-cli -h cache -a {_PLAIN} ping", _PLAIN),
    _spelled("-u user:password of curl", f"curl -u jane:{_PLAIN} https://x/", _PLAIN),
    _spelled("PGPASSWORD before a command", f"PGPASSWORD={_PLAIN} psql -h db", _PLAIN),
    _spelled("a header of curl", f"curl -H 'X-Vault-Token: {_WORD}' https://v/", _WORD),
    _spelled("a passphrase of openssl", f"openssl rsa -passin pass:{_PLAIN} -in k.pem", _PLAIN),
    _spelled("--api-key VALUE in quotes", f'run --api-key "{_PLAIN} and more" --verbose', _PLAIN, "and more"),
    _spelled("--requirepass of redis-server", f"redis-server --requirepass {_PLAIN} --port 6379", _PLAIN),
    # Fields
    _spelled("a JSON field", json.dumps({"user": "jane", "password": _PLAIN}), _PLAIN),
    _spelled("a JSON field with quotes in it", json.dumps({"password": "ab\"cd7'ef"}), "cd7", "ef"),
    _spelled(
        "a JSON field with unicode escapes", json.dumps({"password": _UNICODE}), "\\u00fcn", "\\u03a9", "7\\u03a9"
    ),
    _spelled("a nested JSON field", json.dumps({"db": {"credentials": {"user": "jane", "value": _PLAIN}}}), _PLAIN),
    _spelled("a JSON list of passwords", json.dumps({"passwords": [_PLAIN, _WORD]}), _PLAIN, _WORD),
    _spelled("a JSON field in camel case", json.dumps({"clientSecret": _PLAIN}), _PLAIN),
    _spelled("JSON inside JSON", json.dumps({"body": json.dumps({"password": _PLAIN})}), _PLAIN),
    _spelled("a name and a value apart", json.dumps({"env": [{"name": "DB_PASSWORD", "value": _PLAIN}]}), _PLAIN),
    _spelled("a number as a password", json.dumps({"pin": 1, "password": 8841973}), "8841973"),
    _spelled("a Python mapping", f"{{'user': 'jane', 'password': '{_PLAIN}'}}", _PLAIN),
    _spelled("a Python object", f"Settings(host='db', secret_key='{_PLAIN}')", _PLAIN),
    _spelled("a YAML field", f"db:\n  user: jane\n  password: {_PLAIN}\n", _PLAIN),
    _spelled("a YAML block", f"db:\n  password: |\n    {_PLAIN}\n    {_WORD}\n  host: h\n", _PLAIN, _WORD),
    _spelled("a TOML field", f'secret_key = "{_PLAIN}"', _PLAIN),
    _spelled("a TOML field of several lines", f'client_secret = """\n{_PLAIN}\n{_WORD}\n"""\n', _PLAIN, _WORD),
    _spelled("a Ruby mapping", f':password => "{_PLAIN}"', _PLAIN),
    _spelled("an XML element", f"<user>jane</user><password>{_PLAIN}</password>", _PLAIN),
    _spelled("an XML attribute", f'<db user="jane" password="{_PLAIN}"/>', _PLAIN),
    _spelled("a quoted value with blanks", 'DB_PASSWORD="two words and 7"', "two words", "and 7"),
    _spelled("a value in shell quotes", f"export SMTP_PASS='{_PLAIN}'", _PLAIN),
    _spelled("a value in colours", f"password=\x1b[31m{_PLAIN}\x1b[0m", _PLAIN),
    _spelled("a password of SQL", f"ALTER ROLE app WITH PASSWORD '{_PLAIN}'", _PLAIN),
    _spelled("a password of MySQL", f"CREATE USER a IDENTIFIED BY '{_PLAIN}'", _PLAIN),
    _spelled("a one-time code", "grant_type=authorization_code&code=" + "4/0AX4XfWj" + _WORD, _WORD),
    _spelled(
        "a pydantic message",
        f"DB_PASSWORD\n  Input should be a valid integer [type=int_parsing, input_value='{_PLAIN}', input_type=str]",
        _PLAIN,
    ),
    # Files of other programs
    _spelled(
        "docker's auth",
        json.dumps({"auths": {"r.example.com": {"auth": base64.b64encode(f"jane:{_PLAIN}".encode()).decode()}}}),
        base64.b64encode(f"jane:{_PLAIN}".encode()).decode(),
    ),
    _spelled("netrc", f"machine example.com login jane password {_PLAIN}", _PLAIN),
    _spelled("netrc over lines", f"machine example.com\n  login jane\n  password {_PLAIN}\n", _PLAIN),
    _spelled("kubeconfig's key", f"    client-key-data: {_B64}{_B64}", _B64),
    _spelled("kubeconfig's token", f"users:\n- name: jane\n  user:\n    token: {_WORD}", _WORD),
    _spelled("a line of pgpass", f"db.example.com:5432:shop:app:{_PLAIN}", _PLAIN),
    _spelled("a line of pypirc", f"[pypi]\nusername = __token__\npassword = {_PLAIN}", _PLAIN),
    _spelled("an htpasswd line", "jane:$apr1$" + "x8Qm2ZrT$" + "k9vXm7ZrT2yLw8HnB4cPd6", "k9vXm7ZrT2yLw8HnB4cPd6"),
    _spelled(
        "a bcrypt hash",
        "jane:$2y$" + "10$" + "k9vXm7ZrT2yLw8HnB4cPd6SfJ1gUaE3oXiK5vNtRwYbZqM0FhQd8Z",
        "SfJ1gUaE3oXiK5vNtRwYbZqM0FhQd8Z",
    ),
    _spelled("a line of shadow", "root:$6$" + "x8Qm2ZrT$" + _B64 + _B64[:38] + ":19000:0:99999:7:::", _B64),
    _spelled("an argon2 hash", "$argon2id$v=19$m=65536,t=3,p=4$" + "c29tZXNhbHQ$" + _B64[:43], _B64[:43]),
    _spelled("a WireGuard key", f"[Interface]\nPrivateKey = {_B64[:43]}=", _B64[:43]),
    _spelled("an LDAP bind", f"bindpw {_PLAIN}", _PLAIN),
    _spelled("a password in a sentence", f"the password is {_PLAIN}.", _PLAIN),
    # Known values in other spellings
    _spelled("a known secret", f"got {_KNOWN} from upstream", _KNOWN, known=(_KNOWN,)),
    _spelled(
        "a known secret in base64",
        f"got {base64.b64encode(_KNOWN.encode()).decode()}",
        base64.b64encode(_KNOWN.encode()).decode(),
        known=(_KNOWN,),
    ),
    _spelled(
        "a known secret after its user in base64",
        "sent " + base64.b64encode(f"jane:{_KNOWN}".encode()).decode(),
        base64.b64encode(f"jane:{_KNOWN}".encode()).decode()[8:-4],
        known=(_KNOWN,),
    ),
    _spelled(
        "a known secret in base64 of URLs",
        f"got {base64.urlsafe_b64encode(_QUOTED.encode()).decode()}",
        base64.urlsafe_b64encode(_QUOTED.encode()).decode(),
        known=(_QUOTED,),
    ),
    _spelled("a known secret in hexadecimal", f"got {_KNOWN.encode().hex()}", _KNOWN.encode().hex(), known=(_KNOWN,)),
    _spelled(
        "a known secret percent-encoded", f"got {quote(_KNOWN, safe='')}", quote(_KNOWN, safe=""), known=(_KNOWN,)
    ),
    _spelled(
        "a known secret percent-encoded in lower case",
        "got S0me-Kn0wn%2fSecret%2bValue%3d",
        "Kn0wn",
        known=(_KNOWN,),
    ),
    _spelled("a known secret in JSON", f"got {json.dumps(_QUOTED)}", json.dumps(_QUOTED)[1:-1], known=(_QUOTED,)),
    _spelled(
        "a known unicode secret in JSON", f"got {json.dumps(_UNICODE)}", json.dumps(_UNICODE)[1:-1], known=(_UNICODE,)
    ),
    _spelled("a known secret in HTML", "got it&#x27;s &quot;4&quot; odd$words;", "odd$words", known=(_QUOTED,)),
    _spelled("a known secret as Python shows it", f"got {_QUOTED!r}", "odd$words", known=(_QUOTED,)),
    _spelled("a known secret quoted for the shell", "got 'it'\"'\"'s \"4\" odd$words;'", "odd$words", known=(_QUOTED,)),
    _spelled(
        "a known secret of two lines", f"got {_MULTILINE} x", "first-Line8Zq", "second-Line4Wm", known=(_MULTILINE,)
    ),
    _spelled("a line of a known secret of two lines", "got second-Line4Wm x", "second-Line4Wm", known=(_MULTILINE,)),
    _spelled(
        "a known secret of two lines in JSON",
        json.dumps({"got": _MULTILINE}),
        "first-Line8Zq",
        "second-Line4Wm",
        known=(_MULTILINE,),
    ),
    _spelled(
        "the password inside a known URL, decoded",
        "auth failed with p@ss/w0rd:7x",
        "p@ss/w0rd:7x",
        known=("mysql://app:p%40ss%2Fw0rd%3A7x@db/shop",),
    ),
    _spelled(
        "the password inside a known URL, encoded",
        "auth failed with p%40ss%2Fw0rd%3A7x",
        "p%40ss%2Fw0rd%3A7x",
        known=("mysql://app:p%40ss%2Fw0rd%3A7x@db/shop",),
    ),
    _spelled(
        "the password inside a known keyword string",
        f"auth failed with {_PLAIN}",
        _PLAIN,
        known=(f"host=db user=app password={_PLAIN} dbname=shop",),
    ),
    _spelled(
        "the password inside a known JSON",
        f"auth failed with {_PLAIN}",
        _PLAIN,
        known=(json.dumps({"user": "a", "password": _PLAIN}),),
    ),
    _spelled(
        "the token inside a known webhook",
        "sent to k9vXm7ZrT2yLw8HnB4cPd6Sf",
        "k9vXm7ZrT2yLw8HnB4cPd6Sf",
        known=("https://hooks.slack.com/services/T02ABCDEF/B03GHIJKL/" + "k9vXm7ZrT2yLw8HnB4cPd6Sf",),
    ),
)

INNOCENTS: tuple[str, ...] = (
    "commit 4f2a9c81d3b7e605f1a8c2d94b6e7f3058a1c9d2 deployed",
    "commit 4f2a9c8 deployed",
    "request 1b4e28ba-2fa1-41d2-883f-0016d3cca427 took 3 ms",
    "host web-7d4b9c6f5d-x2x8q.prod.eu-central-1.compute.internal is up",
    "archive sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "image registry.example.com/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "container 4c01db0b339c and 4c01db0b339ca7f1c2d3e4f5061728394a5b6c7d8e9f0a1b2c3d4e5f60718293",
    "request_id=01ARZ3NDEKTSV4RRFFQ69G5FAV done",
    "X-Request-ID: 01HF8K3M5N7P9QRSTVWXYZ0123",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7",
    "/usr/lib/python3.14/site-packages/sqlalchemy/engine/default.py:921",
    "/srv/app/secrets/README.md was not found",
    "C:\\Program Files\\App\\token_store.dll",
    "version 3.14.0rc2+build.20261128",
    "at 2026-11-28T19:12:17.123456+00:00",
    "listening on [2001:db8:85a3::8a2e:370:7334]:8443",
    "Donaudampfschifffahrtsgesellschaftskapitaen antidisestablishmentarianism",
    "images/hero-banner-2048x1024@2x.webp",
    "assets/index-BkX92mQa.js and main.3f7a9c21.chunk.css",
    "primary_key=id foreign_key=user_id sort_key=created_at",
    "token_count=5 max_tokens=4096 tokenizer=bpe",
    '{"usage": {"prompt_tokens": 12, "completion_tokens": 44, "total_tokens": 56}}',
    "passed=12 failed=0 bypass=false compass=north passenger=7",
    "monkey=banana keyboard=qwerty turkey=ankara",
    "author=jane authors=3 authority=example.com:443",
    "password_min_length=12 password_reset_enabled=true passwordless=false",
    "secret_rotation_days=30 secret_name=db-main",
    'FATAL: password authentication failed for user "app"',
    "invalid token at line 3, column 7",
    "Unexpected token } in JSON at position 512",
    "401 Unauthorized: an API key is required",
    "Authorization header is missing",
    "Basic authentication required",
    "the secret of a good service is a short timeout",
    "SECRET_KEY is not set",
    "--password-file /run/secrets/db",
    "git@github.com:acme/shop.git",
    "ssh://git@host.example.com:2222/acme/shop.git",
    "mail to jane.doe+alerts@example.com",
    "https://example.com/a/b?page=2&sort=key&order=asc#section-4",
    "http://127.0.0.1:8000/health answered 503",
    "arn:aws:iam::123456789012:role/deployer",
    "com.example.security.TokenAuthenticationFilter.doFilterInternal(TokenAuthenticationFilter.java:87)",
    "SELECT token FROM sessions WHERE id = 5",
    "cache_key=v2:users:42 partition_key=2026-11 routing_key=orders.created",
    "Idempotency-Key: 7f9c1e52-0c3f-4b1a-9d0e-2a6b8c4d1e3f",
    'ETag: "33a64df551425fcc55e4d42a148795d9f25f89d4"',
    "MAC 3c:22:fb:9a:10:7e",
    "session started, 3 sessions open, session_timeout=30",
    "cookies enabled: true",
    "pid 4242 (python3 -m http.server 8000 -p 8000)",
    "Python 3.14 | packaged by conda-forge",
    "key=value, name=shop, code=404",
    "exit code=1 status=503 state=ready",
    '{"error": {"code": "invalid_api_key", "message": "Incorrect API key provided"}}',
    "DATABASE_URL=sqlite:///data/app.db",
    "DATABASE_URL=postgresql://db.internal:5432/shop",
    "user=jane host=db.internal port=5432 dbname=shop",
    "public_key_id=k-2026 key_id=abc123",
    "GET /api/v1/tokens/refresh 200",
    "nginx -c /etc/nginx/nginx.conf -p /var/www",
    "python -m app --port 8000 --workers 4",
    "ModuleNotFoundError: No module named 'passlib'",
)

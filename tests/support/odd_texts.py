"""What a service, a file or a stranger may send instead of the JSON that is expected."""

ODD_TEXTS: dict[str, bytes] = {
    "a thousand open brackets": b"[" * 1000,
    "a hundred thousand open brackets": b"[" * 100_000,
    "thirty thousand nested lists": b"[" * 30_000 + b"]" * 30_000,
    "five hundred nested lists": b"[" * 500 + b"]" * 500,
    "five hundred nested objects": b'{"status":' * 500 + b"1" + b"}" * 500,
    "a list nested in the member that is read": b'{"status":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "bytes that are not UTF-8": b'{"status": "\xff\xfe"}',
    "a lone surrogate": b'{"status": "\\ud800", "message": "\\udfff"}',
    "a surrogate in UTF-8": b'{"status": "\xed\xa0\x80"}',
    "a whole number of 5000 digits": b'{"status": ' + b"9" * 5000 + b"}",
    "a whole number of 400 digits": b'{"status": ' + b"9" * 400 + b"}",
    "a number beyond the largest float": b'{"status": 1e400}',
    "not a number": b'{"status": NaN}',
    "a list": b"[1, 2]",
    "a text": b'"healthy"',
    "null": b"null",
    "numbers, lists and null as members": b'{"status": [1], "paths": 3, "checks": null, "dry_run": "maybe"}',
    "lists in place of objects": b'{"status": {}, "paths": [[]], "checks": [[], 1, null], "data": [], "alerts": [1]}',
    "the same key twice": b'{"status": "healthy", "status": "\\u001b[2J"}',
    "a byte order mark": b'\xef\xbb\xbf{"status": "healthy"}',
    "a zero byte": b'{"status": "a\\u0000b"}\0',
    "nothing": b"",
    "blanks alone": b" " * 10_000,
}
"""By what is odd. Members have names that the readers look for."""

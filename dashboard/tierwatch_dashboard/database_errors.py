"""What SQLite and PostgreSQL say of a database that cannot be used: what it means, and its mend."""

from __future__ import annotations

import re

BUSY_TIMEOUT_SECONDS = 10
"""How long a writer waits for another process's transaction."""

BROKEN = (
    "is damaged, or no SQLite database: restore a copy of it, or move it away together with its "
    "-wal and -shm files, and Tierwatch begins a new one"
)
NOT_WRITABLE = (
    "cannot be written: let the account that runs Tierwatch write the file and its folder, "
    "or give another place"
)
_FULL = "cannot grow, its disk is full: free some space"
_NO_ANSWER = (
    "gives no answer: see that PostgreSQL runs there, and that it listens on this address and port"
)
_WHERE = "in the address (postgresql://USER:PASSWORD@HOST/NAME), in PGPASSWORD or in ~/.pgpass"

_EXPLANATIONS: tuple[tuple[str, str], ...] = (
    ("file is not a database", BROKEN),
    ("malformed", BROKEN),
    ("unable to open database file", NOT_WRITABLE),
    ("readonly database", NOT_WRITABLE),
    ("database or disk is full", _FULL),
    (
        "database is locked",
        f"has been locked by another program for {BUSY_TIMEOUT_SECONDS} s: "
        "close what holds it open, or give each its own file",
    ),
    ("password authentication failed", f"does not take this user's password: mend it {_WHERE}"),
    ("no password supplied", f"asks this user for a password: give it {_WHERE}"),
    ("no pg_hba.conf entry", "lets this user not in from here: add a line to its pg_hba.conf"),
    (r'role ".*" does not exist', "knows no such user: make one there (createuser)"),
    (r'database ".*" does not exist', "is not there: make it (createdb), or mend the name"),
    ("permission denied for schema", "lets this user make no tables: make the user its owner"),
    ("could not extend file|No space left", _FULL),
    (
        "lock timeout",
        f"has been written by another dashboard for {BUSY_TIMEOUT_SECONDS} s: it is asked again",
    ),
    ("too many clients|connection slots", "has no connection left: raise its max_connections"),
    ("read-only transaction", "is a copy that only reads: give the address of the one that writes"),
    ("starting up|shutting down|in recovery|not yet accepting", "is starting or stopping"),
    (
        "refused|timeout expired|resolve host|translate host name|No route to host|unreachable",
        _NO_ANSWER,
    ),
    (
        "server closed the connection|terminating connection|the connection is (closed|lost)",
        "broke the connection: it was stopped, or the way to it is down",
    ),
)
"""What is said, as a pattern, and its meaning; Python 3.10 has the text only, no code."""


def in_words(said: str) -> str:
    """What is wrong, to be read after the database's name, in one line."""
    for sign, meaning in _EXPLANATIONS:
        if re.search(sign, said):
            return meaning
    return f"cannot be used: {' '.join(said.split())}"


def without_password(address: str) -> str:
    """An address as it was written, which may be none at all, to be shown."""
    return re.sub(r"(://[^/@:]*):[^@]*@", r"\1:***@", address)

"""The dashboard's settings: where they come from, and what a wrong one says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tierwatch_dashboard.config import (
    SMALLEST,
    Config,
    ConfigError,
    address,
    find,
    is_loopback,
    load,
)

Load = Callable[..., Config]
_FLEET = '[dashboard.fleet]\nsource = "prometheus"\n'


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    def load_(
        text: str = "", environment: dict[str, str] | None = None, **flags: str | None
    ) -> Config:
        file = tmp_path / "tierwatch.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, flags=flags, environment=environment or {})

    return load_


def test_a_file_of_machines_alone_gives_the_defaults(load_text: Load, tmp_path: Path) -> None:
    config = load_text(SMALLEST)
    assert config.listen == "127.0.0.1:8090"
    assert config.poll_interval_seconds == 5.0
    assert config.fleet_source == "polling"
    assert config.log_format == "text"
    assert config.database == f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}"


def test_the_file_sets_every_setting(load_text: Load) -> None:
    config = load_text(
        """
        [dashboard]
        listen = "[::1]:9000"
        database = "postgresql://db/tierwatch"
        poll_interval = "1.5s"
        log_format = "json"
        fleet.source = "polling"
        """
    )
    assert address(config.listen) == ("::1", 9000)
    assert config.database == "postgresql://db/tierwatch"
    assert config.poll_interval_seconds == 1.5
    assert config.log_format == "json"


def test_a_flag_goes_before_the_environment_and_that_before_the_file(load_text: Load) -> None:
    text = '[dashboard]\nlisten = "127.0.0.1:1"\npoll_interval = "1s"\nlog_format = "json"'
    environment = {"TIERWATCH_LISTEN": "127.0.0.1:2", "TIERWATCH_POLL_INTERVAL": "2s"}
    config = load_text(text, environment, listen="127.0.0.1:3", log_format=None)
    assert config.listen == "127.0.0.1:3"
    assert config.poll_interval_seconds == 2.0
    assert config.log_format == "json"


@pytest.mark.parametrize("written", ["data/t.db", "sqlite:///data/t.db"])
def test_a_database_counts_from_the_file_that_names_it(
    load_text: Load, tmp_path: Path, written: str
) -> None:
    config = load_text(f'[dashboard]\ndatabase = "{written}"')
    assert config.database == f"sqlite:///{(tmp_path / 'data' / 't.db').as_posix()}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dashboard", "tierwatch.toml: is not TOML: "),
        ('dashboard = "x"', "tierwatch.toml: dashboard is a table: write it as [dashboard]"),
        ('[dashboard]\nlistens = "x"', 'tierwatch.toml: dashboard: "listens" is not known here. '
         "Did you mean listen?"),
        ('[dashboard]\nfleet.kind = "x"', 'dashboard: fleet: "kind" is not known here'),
        ('[dashboard]\nfleet.source = "prom"', 'source is "polling" or "prometheus", not "prom"'),
        (_FLEET, 'source = "prometheus" needs its address: add url = "http://prometheus:9090"'),
        (f'{_FLEET}url = "prometheus:9090"', 'url is "prometheus:9090", which is no address such'),
        (f'{_FLEET}url = "http://x/?a=b"', "which is no address such as http://prometheus:9090"),
        (f'{_FLEET}url = "http://a:b@x"', "url holds a user; write user and password_file"),
        (f'{_FLEET}url = "http://x"\nuser = "a"', "user and password go together; add password"),
        (f'{_FLEET}url = "http://x"\npassword = "a"', "user and password go together; add user"),
        (
            f'{_FLEET}url = "http://x"\nuser = "a"\npassword = "b"\nbearer = "c"',
            "user and bearer both sign in; leave one out",
        ),
        (f'{_FLEET}url = "http://x"\nbearer_file = "gone"', "gone cannot be read: No such file"),
        (f'{_FLEET}url = "https://x"\nkey_file = "tierwatch.toml"', "add cert_file"),
        (f'{_FLEET}url = "http://x"\nca_file = "tierwatch.toml"', "ca_file is for TLS"),
        (f'{_FLEET}url = "http://x"\nheaders = {{ "a b" = "c" }}', 'headers: "a b" is no header'),
        (f'{_FLEET}url = "http://x"\nmapping = "dcmg"', "Did you mean dcgm?"),
        (f'{_FLEET}url = "http://x"\ntimeout = "1h"', "timeout is 3600 s; it must be from"),
        ('[dashboard.fleet]\nurl = "http://x"', 'url is for source = "prometheus": add that line'),
        ('[dashboard]\npoll_interval = "5"', 'poll_interval is "5", which is no length of time; '
         'write it as "90s"'),
        ('[dashboard]\npoll_interval = "0s"', "poll_interval is 0 s; it must be from 0.2s to 5m"),
        ("[dashboard]\nlisten = 8090", 'listen must be text in quotes, such as listen = "127.0.0.'),
        ('[dashboard]\nlisten = "8090"', 'dashboard: listen: "8090" is not HOST:PORT, such as 127'),
        ('[dashboard]\nlisten = "::1:8090"', 'listen: "::1:8090" is not HOST:PORT'),
        ('[dashboard]\nlisten = "a:99999"', 'listen: "a:99999" is not HOST:PORT'),
        ('[dashboard]\ndatabase = ""', 'database must be text in quotes, such as database = "tier'),
        ('[dashboard]\nlog_format = "xml"', 'log_format is "text" or "json", not "xml"'),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_said_with_file_key_and_mend(
    load_text: Load, text: str, words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_text(text)
    assert words in str(error.value)


def test_a_wrong_flag_or_variable_is_named(load_text: Load) -> None:
    with pytest.raises(ConfigError, match="--log-format: "):
        load_text(log_format="xml")
    with pytest.raises(ConfigError, match=r"TIERWATCH_LISTEN: .* is not HOST:PORT"):
        load_text(environment={"TIERWATCH_LISTEN": "here"})


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml", flags={}, environment={})


def test_the_file_is_the_given_one_then_the_variable_s_then_the_first_found(
    tmp_path: Path,
) -> None:
    here, user, site = (tmp_path / name for name in ("here", "user", "site"))
    for folder in (user, site):
        folder.mkdir()
        (folder / "tierwatch.toml").touch()
    folders = (here, user, site)
    environment = {"TIERWATCH_CONFIG": "/elsewhere.toml"}
    assert find(Path("x.toml"), environment=environment, folders=folders) == Path("x.toml")
    assert find(None, environment=environment, folders=folders) == Path("/elsewhere.toml")
    assert find(None, environment={}, folders=folders) == user / "tierwatch.toml"


def test_no_file_says_where_it_looked_and_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        find(None, environment={}, folders=(tmp_path / "a", tmp_path / "b"))
    assert f"there is no {tmp_path / 'a' / 'tierwatch.toml'} here, nor " in str(error.value)
    assert str(error.value).endswith(SMALLEST)


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.0.0.9", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "192.168.1.4", "render-01")],
)
def test_only_loopback_is_this_machine_s_alone(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_an_engine_s_settings_stand_beside_its_source(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    config = load_text(
        _FLEET
        + """
        url = "https://mimir/prometheus/"
        mapping = "dcgm"
        bearer_file = "token"
        ca_file = "tierwatch.toml"
        headers = { "X-Scope-OrgID" = "studio" }
        timeout = "10s"
        """
    )
    assert config.fleet_source == "prometheus"
    engine = config.engine
    assert engine is not None
    assert engine.url == "https://mimir/prometheus"
    assert engine.mapping == "dcgm"
    assert engine.bearer_file == tmp_path / "token"
    assert engine.headers == {"X-Scope-OrgID": "studio"}
    assert engine.timeout_seconds == 10


def test_the_environment_can_name_the_engine_alone(load_text: Load) -> None:
    environment = {
        "TIERWATCH_FLEET_SOURCE": "prometheus",
        "TIERWATCH_FLEET_URL": "http://metrics:8428",
    }
    config = load_text('[dashboard.fleet]\nmapping = "dcgm"', environment)
    engine = config.engine
    assert engine is not None
    assert (engine.url, engine.mapping) == ("http://metrics:8428", "dcgm")

"""Where the agent's settings come from, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from tierwatch_agent.config import Config, ConfigError, load

NO_FLAGS: dict[str, str | None] = {}


def test_flags_before_environment_before_file_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('listen = "0.0.0.0:1"\nmachine = "from-file"\ninterval_seconds = 2\n')
    environment = {"TIERWATCH_AGENT_MACHINE": "from-environment"}
    config = load(file, flags={"listen": "127.0.0.1:3"}, environment=environment)
    assert config.address() == ("127.0.0.1", 3)
    assert config.machine == "from-environment"
    assert config.interval_seconds == 2
    assert config.sources == Config().sources


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('machine = "named"\n')
    config = load(None, flags=NO_FLAGS, environment={"TIERWATCH_AGENT_CONFIG": str(file)})
    assert config.machine == "named"


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert load(None, flags={"listen": "[::1]:9838"}, environment={}).address() == ("::1", 9838)


def test_servers_are_named_by_kind_and_address(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[[servers]]\nkind = "comfyui"\nurl = "https://127.0.0.1:8188"\n')
    (server,) = load(file, flags=NO_FLAGS, environment={}).servers
    assert (server.kind, server.url) == ("comfyui", "https://127.0.0.1:8188")


def test_the_state_is_kept_where_told_else_where_systemd_says_else_where_the_system_does(
    tmp_path: Path,
) -> None:
    told = Config(state_dir=str(tmp_path / "told"))
    assert told.state_folder({"STATE_DIRECTORY": "/var/lib/x"}) == tmp_path / "told"
    assert Config().state_folder({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}) == Path("/var/lib/x")
    assert Config().state_folder({}) == platformdirs.user_state_path("tierwatch")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('lisen = "a:1"', "agent.toml: there is no setting lisen; did you mean listen?"),
        ('listen = "9838"', 'agent.toml: listen: "9838" is not HOST:PORT, such as 127.0.0.1:9838'),
        ('listen = "a:99999"', "is not HOST:PORT"),
        ("interval_seconds = 0", "interval_seconds: 0.0 is not between 0.1 and 60 seconds"),
        ('interval_seconds = "fast"', "interval_seconds: Expected `float`, got `str`"),
        ('sources = ["nvidia"]', "sources: there is no source nvidia; there are nvml, amdgpu"),
        ("[source.cuda]\na = 1", "source: there is no source cuda"),
        ('machine = " "', "machine: is empty; leave it out for the hostname"),
        ('log_format = "xml"', 'log_format: "xml" is neither text nor json'),
        ("listen = ", "agent.toml: is not TOML:"),
        (
            'servers = [{kind = "comfy", url = "http://127.0.0.1:8188"}]',
            "servers: there is no kind comfy; there are comfyui, a1111",
        ),
        (
            'servers = [{kind = "comfyui", url = "127.0.0.1:8188"}]',
            'servers: "127.0.0.1:8188" is no URL such as http://127.0.0.1:8188',
        ),
        (
            'servers = [{kind = "comfyui", url = "http://127.0.0.1:x"}]',
            'servers: "http://127.0.0.1:x" is no URL',
        ),
        ('[[servers]]\nkind = "comfyui"', "servers: Object missing required field `url`"),
        ('servers = [{kind = "a1111", adress = "x"}]', "servers: Object "),
        ('discover = "no"', "discover: Expected `bool`, got `str`"),
        ('state_dir = ""', "state_dir: is empty; leave it out for the system's own folder"),
        ("stall_after_seconds = 1", "stall_after_seconds: 1.0 is not between 10 and 86400"),
    ],
)
def test_a_wrong_setting_names_file_key_and_mend(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, flags=NO_FLAGS, environment={})
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_wrong_flag_or_variable_is_named_as_the_user_knows_it() -> None:
    with pytest.raises(ConfigError, match=r"^--listen: "):
        load(None, flags={"listen": "nowhere"}, environment={})
    with pytest.raises(ConfigError, match=r"^TIERWATCH_AGENT_LISTEN: "):
        load(None, flags=NO_FLAGS, environment={"TIERWATCH_AGENT_LISTEN": "nowhere"})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml", flags=NO_FLAGS, environment={})

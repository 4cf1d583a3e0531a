"""The extension in a ComfyUI that is played by the few names it touches."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.processes import PATIENCE_SECONDS, free_port

FOLDER = Path(__file__).parents[2] / "deploy" / "comfyui"


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import tierwatch.sender  # pyright: ignore[reportMissingImports]
    import tierwatch.tap  # pyright: ignore[reportMissingImports]

    return tierwatch


class Server:
    """ComfyUI's PromptServer, as far as the extension knows it."""

    def __init__(self) -> None:
        self.port = 8188
        self.sent: list[tuple[Any, ...]] = []
        self.prompt_queue = Queue()

    def send_sync(self, event: Any, data: Any, sid: Any = None) -> str:
        self.sent.append((event, data, sid))
        return "sent"


class Queue:
    """ComfyUI's PromptQueue."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.done: list[tuple[Any, ...]] = []

    def get(self, timeout: float | None = None) -> Any:
        return self.waiting.pop(0) if self.waiting else None

    def task_done(self, item_id: Any, history_result: Any, status: Any = None) -> str:
        self.done.append((item_id, history_result, status))
        return "done"


class Agent:
    """Takes reports."""

    def __init__(self, status: int = 200) -> None:
        self.reports: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        agent = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                agent.reports.put((self.path, json.loads(body)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: Any) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    yield agent
    agent.http.shutdown()
    agent.http.server_close()


def tapped(extension: Any) -> tuple[Server, list[dict[str, Any]]]:
    server, offered = Server(), list[dict[str, Any]]()
    extension.tap.Tap(server, offered.append).install()
    return server, offered


def test_a_prompt_is_told_from_start_to_end(extension: Any) -> None:
    server, offered = tapped(extension)
    server.prompt_queue.waiting.append(((0, "a", {}, {}, []), 7))
    assert server.prompt_queue.get(timeout=1.0) == ((0, "a", {}, {}, []), 7)
    running = {"5": {"state": "running"}, "4": {"state": "finished"}}
    server.send_sync("progress_state", {"prompt_id": "a", "nodes": running}, "client")
    server.send_sync("progress", {"prompt_id": "a", "value": 1, "max": 20, "node": "5"}, "client")
    server.send_sync("progress_state", {"prompt_id": "a", "nodes": running}, "client")
    assert server.prompt_queue.task_done(7, {}, status=None) == "done"
    assert offered == [
        {"server_port": 8188, "prompt_id": "a", "event": "start"},
        {"server_port": 8188, "prompt_id": "a", "event": "step"},
        {"server_port": 8188, "prompt_id": "a", "event": "step", "step": 1, "steps": 20},
        {"server_port": 8188, "prompt_id": "a", "event": "end"},
    ]


def test_comfyui_gets_what_it_got_before(extension: Any) -> None:
    server, _ = tapped(extension)
    assert server.send_sync("status", {"status": {}}) == "sent"
    assert server.send_sync("executed", {"output": 1}, sid="client") == "sent"
    assert server.prompt_queue.get() is None
    assert server.prompt_queue.task_done(1, {"outputs": {}}, status="ok") == "done"
    assert server.sent == [("status", {"status": {}}, None), ("executed", {"output": 1}, "client")]
    assert server.prompt_queue.done == [(1, {"outputs": {}}, "ok")]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("progress", None),
        ("progress", {}),
        ("progress", {"value": "x", "max": None, "prompt_id": "a"}),
        ("progress_state", {"nodes": []}),
        ("progress_state", {"nodes": {"1": {}}}),
        (4, b"a preview"),
    ],
)
def test_events_of_another_age_are_passed_on_and_told_nobody(
    extension: Any, event: Any, data: Any
) -> None:
    server, offered = tapped(extension)
    server.send_sync(event, data, "client")
    assert (server.sent, offered) == ([(event, data, "client")], [])


def test_an_unknown_item_of_the_queue_is_passed_on(extension: Any) -> None:
    server, offered = tapped(extension)
    server.prompt_queue.waiting.append("something else")
    assert server.prompt_queue.get() == "something else"
    assert server.prompt_queue.task_done("something else", {}) == "done"
    assert offered == []


def test_reports_reach_the_agent(extension: Any, agent: Agent) -> None:
    sender = extension.sender.Sender(agent.url)
    sender.offer({"prompt_id": "a", "step": 1})
    path, report = agent.reports.get(timeout=PATIENCE_SECONDS)
    assert (path, report) == ("/api/v1/servers/steps", {"prompt_id": "a", "step": 1})


def test_of_many_reports_the_last_is_sent_and_others_are_dropped(
    extension: Any, agent: Agent
) -> None:
    sender = extension.sender.Sender(agent.url)
    for step in range(1000):
        sender.offer({"step": step})
    seen = []
    while not seen or seen[-1] != 999:
        seen.append(agent.reports.get(timeout=PATIENCE_SECONDS)[1]["step"])
    assert len(seen) < 10


def test_without_an_agent_nothing_is_said(
    extension: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    sender = extension.sender.Sender(f"http://127.0.0.1:{free_port()}")
    for step in range(100):
        sender.offer({"step": step})
    assert capfd.readouterr() == ("", "")


def test_an_agent_that_knows_no_steps_is_left_alone(extension: Any) -> None:
    agent = Agent(status=404)
    sender = extension.sender.Sender(agent.url)
    sender.offer({"step": 1})
    agent.reports.get(timeout=PATIENCE_SECONDS)
    for step in range(100):
        sender.offer({"step": step})
    agent.http.shutdown()
    agent.http.server_close()
    assert agent.reports.empty()


def test_an_empty_address_reports_nothing(extension: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(extension.sender.URL_VARIABLE, "")
    before = threading.active_count()
    extension.sender.Sender().offer({"step": 1})
    assert threading.active_count() == before


def test_it_loads_in_comfyui_with_the_standard_library_alone(tmp_path: Path) -> None:
    """In a Python of its own, with a ``server`` module as ComfyUI has one."""
    (tmp_path / "server.py").write_text(
        "class PromptServer:\n"
        "    class instance:\n"
        "        send_sync = staticmethod(lambda event, data, sid=None: None)\n"
        "        class prompt_queue:\n"
        "            get = staticmethod(lambda timeout=None: None)\n"
        "            task_done = staticmethod(lambda item_id: None)\n"
    )
    program = (
        "import sys; before = set(sys.modules); sys.path[:0] = sys.argv[1:]\n"
        "import tierwatch\n"
        "from server import PromptServer\n"
        "assert tierwatch.NODE_CLASS_MAPPINGS == {}\n"
        "assert PromptServer.instance.send_sync.__name__ == 'tapped_send_sync'\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*(tops - set(sys.stdlib_module_names) - {'tierwatch', 'server'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(FOLDER), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout.split()) == ("", [])


def test_a_comfyui_without_what_it_needs_loads_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in [name for name in sys.modules if name.partition(".")[0] == "tierwatch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "server", ModuleType("server"))
    import tierwatch  # pyright: ignore[reportMissingImports]

    assert tierwatch.NODE_CLASS_MAPPINGS == {}

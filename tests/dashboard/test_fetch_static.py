from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from dashboard.fetch_static import MANIFEST, PACKAGES, VENDOR, FetchError, Package, fetch

ROOT = Path(__file__).parents[2]


def packed(files: dict[str, bytes]) -> bytes:
    """An npm package with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def npm_with(folder: Path, tarball: bytes) -> str:
    """A stand-in for npm that packs just this."""
    (folder / "held.tgz").write_bytes(tarball)
    command = folder / "npm"
    command.write_text(
        f"#!{sys.executable}\n"
        "import shutil, sys\n"
        "folder = sys.argv[sys.argv.index('--pack-destination') + 1]\n"
        f"shutil.copy({str(folder / 'held.tgz')!r}, folder)\n"
    )
    command.chmod(0o755)
    return str(command)


def package(tarball: bytes) -> Package:
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    return Package(
        name="thing", version="1.0.0", integrity=f"sha512-{digest}", files={"a.js": "thing.js"}
    )


def test_the_kept_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((VENDOR / MANIFEST).read_text(encoding="utf-8"))
    kept = {path.name for path in VENDOR.iterdir()} - {MANIFEST}
    listed: set[str] = set()
    for known in PACKAGES:
        entry = manifest[known.name]
        assert (entry["version"], entry["integrity"]) == (known.version, known.integrity)
        for name, digest in entry["sha256"].items():
            assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
            listed.add(name)
    assert kept == listed


@pytest.mark.parametrize("known", PACKAGES, ids=lambda known: known.name)
def test_every_package_keeps_its_licence(known: Package) -> None:
    assert any(name.startswith("LICENSE") for name in known.files.values())


def test_a_package_is_fetched_and_written_down(tmp_path: Path) -> None:
    tarball = packed({"a.js": b"let a;"})
    fetch((package(tarball),), tmp_path / "vendor", npm_with(tmp_path, tarball))

    assert (tmp_path / "vendor" / "thing.js").read_bytes() == b"let a;"
    manifest = json.loads((tmp_path / "vendor" / MANIFEST).read_text())
    assert manifest["thing"]["sha256"] == {"thing.js": hashlib.sha256(b"let a;").hexdigest()}


def test_another_package_under_the_same_name_is_refused(tmp_path: Path) -> None:
    pinned = package(packed({"a.js": b"let a;"}))
    npm = npm_with(tmp_path, packed({"a.js": b"steal();"}))

    with pytest.raises(FetchError, match=r"thing 1\.0\.0 is not the pinned package"):
        fetch((pinned,), tmp_path / "vendor", npm)

    assert not (tmp_path / "vendor" / "thing.js").exists()


def test_a_package_without_the_wanted_file_is_refused(tmp_path: Path) -> None:
    tarball = packed({"b.js": b""})
    with pytest.raises(FetchError, match=r"has no file a\.js"):
        fetch((package(tarball),), tmp_path / "vendor", npm_with(tmp_path, tarball))


def test_without_npm_it_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dashboard" / "fetch_static.py"), "--npm", "no-such-npm"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    assert done.returncode == 2
    assert (
        done.stderr == "fetch_static: no-such-npm is not here; install Node.js, which brings npm\n"
    )

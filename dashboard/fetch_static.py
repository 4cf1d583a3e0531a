"""Fetches the pages' third-party scripts from npm, pinned by version and digest: ``make static``.

The files are kept in the repository, so this runs only when a version changes: set the version and
the integrity that ``npm view NAME@VERSION dist.integrity`` prints, and run it again. Needs npm.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).parent / "tierwatch_dashboard" / "web" / "static" / "vendor"
MANIFEST = "packages.json"


class FetchError(Exception):
    """A package that could not be had, or is not the one that was pinned."""


@dataclass(frozen=True)
class Package:
    """One npm package, and what of it is kept: path within the package to name in our folder."""

    name: str
    version: str
    integrity: str
    files: dict[str, str]


PACKAGES: tuple[Package, ...] = (
    Package(
        name="plotly.js-basic-dist-min",
        version="4.1.1",
        integrity="sha512-1oNF8PeQx2hv/y7tqEVWKD3JGwn/MGEMQ8mL9HUwsaqG9FGy/OU5FHUHvzqbqxN4"
        "mnwZGI9abTiE775C4kkjMQ==",
        files={"plotly-basic.min.js": "plotly-basic.min.js", "LICENSE": "LICENSE.plotly.txt"},
    ),
    Package(
        name="htmx.org",
        version="4.0.1",
        integrity="sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==",
        files={"dist/htmx.min.js": "htmx.min.js", "LICENSE": "LICENSE.htmx.txt"},
    ),
)


def fetch(packages: tuple[Package, ...], vendor: Path, npm: str = "npm") -> None:
    """Replaces the packages' files in ``vendor``, and the manifest that lists their digests."""
    vendor.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, object] = {}
    for package in packages:
        with tempfile.TemporaryDirectory(prefix="tierwatch-static-") as folder:
            contents = _contents(package, _tarball(package, Path(folder), npm))
        for name, content in contents.items():
            (vendor / name).write_bytes(content)
        manifest[package.name] = {
            "version": package.version,
            "integrity": package.integrity,
            "sha256": {
                name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
            },
        }
    (vendor / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _tarball(package: Package, folder: Path, npm: str) -> Path:
    wanted = f"{package.name}@{package.version}"
    try:
        subprocess.run(  # noqa: S603 (a pinned name and version, no shell)
            [npm, "pack", wanted, "--pack-destination", str(folder)],
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise FetchError(f"{npm} is not here; install Node.js, which brings npm") from None
    except subprocess.CalledProcessError as error:
        raise FetchError(f"npm could not fetch {wanted}: {error.stderr.strip()}") from error
    found = list(folder.glob("*.tgz"))
    if len(found) != 1:
        raise FetchError(f"npm left {len(found)} packages for {wanted}; one was asked for")
    return found[0]


def _contents(package: Package, tarball: Path) -> dict[str, bytes]:
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        raise FetchError(
            f"{package.name} {package.version} is not the pinned package: its integrity is "
            f"sha512-{digest}, PACKAGES says {package.integrity}"
        )
    contents: dict[str, bytes] = {}
    with tarfile.open(tarball) as archive:
        for path, name in package.files.items():
            try:
                member = archive.extractfile(f"package/{path}")
            except KeyError:
                member = None
            if member is None:
                raise FetchError(f"{package.name} {package.version} has no file {path}")
            contents[name] = member.read()
    return contents


def main(arguments: list[str] | None = None) -> int:
    """Runs the fetch; 0, or 2 with one line that says what stood in the way."""
    parser = argparse.ArgumentParser(description="Fetches the pages' scripts from npm.")
    parser.add_argument("--into", type=Path, default=VENDOR, help="folder (default: %(default)s)")
    parser.add_argument("--npm", default="npm", help="the npm command (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        fetch(PACKAGES, options.into, options.npm)
    except FetchError as error:
        sys.stderr.write(f"fetch_static: {error}\n")
        return 2
    for package in PACKAGES:
        sys.stdout.write(f"{package.name} {package.version}: {', '.join(package.files.values())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

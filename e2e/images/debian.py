"""What comes from Debian: the root directory below every image, and programs that are taken out of their packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from e2e.cluster.layout import ClusterError

SUITE = "bookworm"
PACKAGES = (
    "base-files", "busybox", "ca-certificates", "libc-bin", "netbase", "tzdata",
    "python3",
    "libgomp1",  # llama.cpp
    "libstdc++6",  # compiled Python packages
)  # fmt: skip
PYTHON = Path("usr/bin/python3")
SITE_PACKAGES = Path("usr/local/lib/python3.11/dist-packages")
USER = 65532
ACCOUNTS = f"root:x:0:0::/:/bin/sh\nnonroot:x:{USER}:{USER}::/tmp:/bin/sh\n"
GROUPS = f"root:x:0:\nnonroot:x:{USER}:\n"
NEEDLESS = (
    "etc/apt", "etc/hostname", "etc/resolv.conf", "var/lib/apt",  # of this machine
    "dev", "usr/lib/python3.11/test", "usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache",
)  # fmt: skip


def make_base(target: Path) -> None:
    """Makes the root directory: Python 3.11, busybox as shell, a user for the containers; no package manager."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    mirror = [str(sources)] if sources.exists() and SUITE in sources.read_text() else []
    include = "--include=" + ",".join(PACKAGES)
    # Only extracted, no package's own scripts run: what they would do and we need is done below.
    _run("mmdebstrap", "--quiet", "--variant=extract", "--format=directory", include, SUITE, str(target), *mirror)
    for needless in NEEDLESS:
        path = target / needless
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _install_busybox(target)
    (target / "etc/passwd").write_text(ACCOUNTS)
    (target / "etc/group").write_text(GROUPS)
    (target / "etc/nsswitch.conf").write_text("hosts: files dns\n")  # else "localhost" is asked of the DNS first
    compile_python(target, target / "usr/lib/python3.11", target)


def _install_busybox(root: Path) -> None:
    commands = root / "usr/local/bin"
    commands.mkdir(parents=True)
    listing = subprocess.run([root / "bin/busybox", "--list"], check=True, capture_output=True, text=True)
    for name in listing.stdout.split():
        (commands / name).symlink_to("/bin/busybox")
    (root / "bin/sh").unlink(missing_ok=True)
    (root / "bin/sh").symlink_to("busybox")


def compile_python(base: Path, directory: Path, root: Path) -> None:
    """Compiles all modules below the directory, which lies in `root`, as the Python of the base does it.

    A container's user cannot write the results, so every start would compile again: seconds for LiteLLM. They hold no
    times, so that the same input makes the same layer, and are never checked against the source.
    """
    options = ["-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"]
    # Packages may carry files for other versions of Python, which do not compile: no failure.
    subprocess.run([base / PYTHON, "-I", "-m", "compileall", *options, str(directory)], check=False)


def take_out(package: str, paths: tuple[str, ...], target: Path) -> None:
    """Downloads a package and copies files of it; nothing is installed on this machine. A file appears whole: another
    process may be starting it at this moment."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        download = ["apt-get", "download", "--quiet", package]
        if subprocess.run(download, cwd=scratch, capture_output=True).returncode:
            _run("apt-get", "update")
            _run(*download, cwd=scratch)
        archive = next(Path(scratch).glob("*.deb"))
        _run("dpkg", "-x", str(archive), f"{scratch}/content")
        for path in paths:
            goal = target / path
            goal.parent.mkdir(parents=True, exist_ok=True)
            arriving = goal.with_name(f".{goal.name}.{os.getpid()}")
            shutil.copy2(Path(scratch, "content", path), arriving)
            arriving.replace(goal)


def _run(*command: str, cwd: str | None = None) -> None:
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, cwd=cwd, env=quiet, capture_output=True, text=True)
    if result.returncode:
        raise ClusterError(f"{' '.join(command)}: {result.stderr.strip()[-2000:]}")

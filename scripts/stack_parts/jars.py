"""The JVM parts in a cache that all stacks share, fetched by Maven from the project's pom."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from stack_parts.failure import StackError
from stack_parts.layout import PROJECT, stacks_folder
from stack_parts.process import locked
from stack_parts.tools import require

POM = PROJECT / "scripts" / "pom.xml"


def cache_folder() -> Path:
    """Where the jars are kept between stacks; another place by the variable DRIFTLINE_STACK_CACHE."""
    return Path(os.environ.get("DRIFTLINE_STACK_CACHE") or stacks_folder() / "cache")


def jars_folder() -> Path:
    """The jars of this very pom: another pom is another folder, so a change of version never mixes two."""
    return cache_folder() / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def ensure_jars() -> bool:
    """Fetch what is not there, all or nothing; True when something was fetched."""
    folder = jars_folder()
    if folder.is_dir():
        return False
    with locked(cache_folder() / "jars.lock", wait_s=600):
        if folder.is_dir():
            return False
        for left_over in cache_folder().glob("fetching-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix="fetching-", dir=cache_folder()))
        command = [require("mvn"), "-q", "-B", "-f", str(POM), "generate-resources", f"-Dstack.folder={fresh}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stdout.splitlines() if "ERROR" in line][:3]
            raise StackError(
                f"Maven could not fetch the jars: {' / '.join(errors) or done.stderr.strip()}",
                f"check the network and Maven's mirror settings, then run: {' '.join(command[:-1])}",
            )
        fresh.chmod(0o755)
        fresh.rename(folder)
        return True

# Sourced by the scripts: makes .venv from the lock file if needed, with uv where there is one, and activates it.
if [ ! -x .venv/bin/python ] || [ uv.lock -nt .venv/.synced ]; then
  echo "== dependencies" >&2
  if ! command -v uv >/dev/null 2>&1; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
      echo "driftline needs Python 3.11 or later; python3 here is $(python3 -V 2>&1)" >&2; exit 2; }
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -m pip install -q uv
    uv() { .venv/bin/python -m uv "$@"; }
  fi
  [ -x .venv/bin/python ] || uv venv -q --python ">=3.11,<3.14" .venv
  VIRTUAL_ENV="$PWD/.venv" uv sync -q --frozen --active --inexact
  touch .venv/.synced
fi
VIRTUAL_ENV="$PWD/.venv"; export VIRTUAL_ENV
PATH="$PWD/.venv/bin:$PATH"; export PATH

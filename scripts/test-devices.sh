#!/bin/sh
# `make test-devices`: runs the device suite in virtual environments like those of boards (see scripts/devices/run.py).
# Needs .venv, which exports the candidate, and the uv of .venv-bootstrap, which `make venv` leaves behind.
set -eu
cd "$(dirname "$0")/.."

if [ ! -x .venv-bootstrap/bin/uv ]; then
    python=$(sh scripts/find-python.sh)
    "$python" -m venv --clear .venv-bootstrap
    .venv-bootstrap/bin/python -m pip install --quiet --disable-pip-version-check uv
fi

# uv does not read pip's configuration, so hand over what it would need from it. $1: name of the setting.
pip_setting() {
    .venv-bootstrap/bin/python -m pip config get "global.$1" 2>/dev/null || true
}

index=${PIP_INDEX_URL:-$(pip_setting index-url)}
certificates=${PIP_CERT:-$(pip_setting cert)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
[ -z "$certificates" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"

exec .venv/bin/python -m scripts.devices.run "$@"

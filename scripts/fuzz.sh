#!/bin/sh
# `make fuzz`: fuzzes every parser of what comes from outside, guided by coverage (see benchmarks/fuzz.py).
# Makes an environment of its own with atheris, on the Python of .venv; atheris has wheels for CPython 3.11 to 3.13 on Linux.
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
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}" UV_PYTHON_DOWNLOADS=never

home=build/fuzz/venv
if [ ! -e "$home/made" ]; then
    base=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
    .venv-bootstrap/bin/uv venv --quiet --clear --python "$base" "$home"
    .venv-bootstrap/bin/uv pip install --quiet --python "$home/bin/python" --constraints constraints.txt \
        --only-binary atheris "atheris>=3.1,<4" cryptography paho-mqtt
    touch "$home/made"
fi

exec .venv/bin/python -m benchmarks.fuzz --python "$PWD/$home/bin/python" "$@"

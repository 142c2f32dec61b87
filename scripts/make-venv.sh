#!/bin/sh
# Makes .venv with the host environment, or finds that it is up to date and does nothing (a few hundredths of a second).
# Up to date means: same pyproject.toml, same constraints.txt, same checkout folder, and its Python still runs.
# Installs with uv, which a small environment of its own (.venv-bootstrap) gets from pip; with pip where that fails.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.edgenas-stamp
wanted="$(cat pyproject.toml constraints.txt scripts/make-venv.sh | cksum) $(pwd -P) ${PYTHON:-}"

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

python=$(sh scripts/find-python.sh)
echo "make-venv: building .venv with $python"
rm -f "$stamp"

# uv does not read pip's configuration, so hand over what it would need from it. $1: name of the setting.
pip_setting() {
    .venv-bootstrap/bin/python -m pip config get "global.$1" 2>/dev/null || true
}

get_uv() {
    [ -x .venv-bootstrap/bin/uv ] && .venv-bootstrap/bin/uv --version >/dev/null 2>&1 && return 0
    "$python" -m venv --clear .venv-bootstrap || return 1
    .venv-bootstrap/bin/python -m pip install --quiet --disable-pip-version-check uv
}

install_with_uv() {
    get_uv || return 1
    index=${PIP_INDEX_URL:-$(pip_setting index-url)}
    certificates=${PIP_CERT:-$(pip_setting cert)}
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
    [ -z "$certificates" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"
    export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}" UV_PYTHON_DOWNLOADS=never
    uv=.venv-bootstrap/bin/uv
    "$uv" venv --quiet --clear --python "$python" .venv || return 1
    "$uv" pip install --python .venv/bin/python -c constraints.txt -e '.[host,postgres,optuna,device,onnx,dev]'
}

install_with_pip() {
    "$python" -m venv --clear .venv || return 1
    .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[host,postgres,optuna,device,onnx,dev]'
}

if ! install_with_uv; then
    echo "make-venv: uv could not do it (it does not read pip's configuration); trying pip, which takes minutes" >&2
    install_with_pip || {
        echo "make-venv: pip could not install the environment either; its message above says what is missing" \
            "(a package index that can be reached, 7 GB of disk, python3-venv on Debian)" >&2
        exit 1
    }
fi
echo "$wanted" >"$stamp"
echo "make-venv: .venv is ready"

#!/bin/sh
# Prints the path of a Python that the host environment can be built with: 3.13 if there is one, else 3.12 (newer ones
# may lack wheels of the pinned packages). Looks at $PYTHON, at PATH and at pyenv's versions, and takes only a Python
# that really runs: pyenv puts names on PATH that fail for versions that are not active.
# Installs nothing. Exit status 1, with one sentence on stderr, when there is none.
set -u

# Prints the real path of interpreter $1 when it runs and is version $2 (3.12 or 3.13); fails otherwise.
probe() {
    "$1" -c 'import sys
if "%d.%d" % sys.version_info[:2] != sys.argv[1]: sys.exit(1)
print(sys.executable)' "$2" 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    probe "$PYTHON" 3.13 && exit 0
    probe "$PYTHON" 3.12 && exit 0
    echo "find-python: PYTHON=$PYTHON is not a Python 3.12 or 3.13 that runs; point it to one, or unset it." >&2
    exit 1
fi

for version in 3.13 3.12; do
    for candidate in "python$version" python3 \
        "${PYENV_ROOT:-${HOME:-/}/.pyenv}/versions/$version".*/bin/python; do
        probe "$candidate" "$version" && exit 0
    done
done

echo "find-python: no Python 3.12 or 3.13 was found on PATH or under pyenv; install one (for example" \
    "'apt-get install python3.13 python3.13-venv' or 'pyenv install 3.13'), or name it with PYTHON=/path/to/python." >&2
exit 1

#!/usr/bin/env bash
# Makes .venv and installs L-FUSION into it: tools/bootstrap.sh EXTRAS
#
# Needs a Python of at least 3.11 and the package index that pip uses. As root on
# Debian or Ubuntu it installs the Python packages that are missing; otherwise it
# names them. PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly extras=${1:?usage: tools/bootstrap.sh EXTRAS, for example: tools/bootstrap.sh server,dev}
readonly venv_python=.venv/bin/python

say() { printf 'bootstrap: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

can_apt() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    say "installing the Debian packages $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Runs the command rather than trusting its name: version managers put commands
# on the PATH for interpreters that are switched off.
is_python() { "$1" -c "import sys; sys.exit(not ($2))" >/dev/null 2>&1; }

# Python 3.13 and newer come last: there, some wheels are replaced (overrides.txt).
find_python() {
    local candidate
    for candidate in python3 python3.12 python3.11; do
        is_python "$candidate" '(3, 11) <= sys.version_info < (3, 13)' && echo "$candidate" && return
    done
    for candidate in python3 python3.13 python3.14; do
        is_python "$candidate" 'sys.version_info >= (3, 13)' && echo "$candidate" && return
    done
    return 1
}

choose_python() {
    local found
    if [ -n "${PYTHON:-}" ]; then
        is_python "$PYTHON" 'sys.version_info >= (3, 11)' ||
            fail "PYTHON=$PYTHON is not a Python of at least 3.11. Give the path of one, or leave PYTHON out."
        echo "$PYTHON"
        return
    fi
    if ! found=$(find_python) && can_apt; then
        apt_install python3 python3-venv
        found=$(find_python) || true
    fi
    [ -n "$found" ] ||
        fail "found no Python of at least 3.11 (looked for python3, python3.11 to python3.14). Install one" \
            "(Debian 12, Ubuntu 24.04 and newer: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python"
    echo "$found"
}

require_ensurepip() {
    local python=$1 package
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    can_apt && apt_install "$package"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments: its modules venv and ensurepip are missing." \
            "On Debian or Ubuntu run, as root: apt-get install $package"
}

make_venv() {
    local python
    "$venv_python" -m pip --version >/dev/null 2>&1 && return
    python=$(choose_python)
    require_ensurepip "$python"
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
}

pip_setting() { "$venv_python" -m pip config get "$1" 2>/dev/null || true; }

# uv reads neither pip.conf nor PIP_*: a machine whose pip goes to an index mirror
# or trusts its own certificates must tell uv so.
share_pip_settings() {
    local index=${PIP_INDEX_URL:-$(pip_setting global.index-url)}
    local certificates=${PIP_CERT:-$(pip_setting global.cert)}
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && [ -n "$index" ]; then
        export UV_DEFAULT_INDEX=$index
    fi
    if [ -z "${SSL_CERT_FILE:-}" ] && [ -n "$certificates" ]; then
        export SSL_CERT_FILE=$certificates
    fi
    # torch alone is half a gigabyte.
    export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
}

install_with_uv() {
    "$venv_python" -m pip install --quiet --disable-pip-version-check -c constraints.txt uv &&
        share_pip_settings &&
        "$venv_python" -m uv pip install --python "$venv_python" --compile-bytecode \
            -c constraints.txt --override overrides.txt -e ".[$extras]"
}

install_with_pip() {
    "$venv_python" -m pip install --disable-pip-version-check -c constraints.txt -e ".[$extras]"
}

make_venv
if ! install_with_uv; then
    say "uv could not install; trying pip, with all of its own configuration"
    install_with_pip || fail "neither uv nor pip could install .[$extras]. The first lines starting with 'error' or 'ERROR' say why."
fi

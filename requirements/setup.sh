#!/bin/sh
# Makes .venv with pinned, hash-checked packages: `setup.sh run` for the product, `setup.sh test` for its tests too.
# As root it installs missing Debian packages; otherwise it says which and goes on with what is possible.
set -eu
cd "$(dirname "$0")/.."
kind=${1:-run}
case "$kind" in run | test) ;; *) echo "usage: $0 run|test" >&2; exit 2 ;; esac

say() { echo "setup: $*" >&2; }

debian() { # debian REQUIRED|OPTIONAL PACKAGE…
    need=$1
    shift
    missing=""
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing Debian packages:$missing"
        log=$(mktemp)
        if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
            >"$log" 2>&1 </dev/null; then
            rm -f "$log"
            return 0
        fi
        tail -n 5 "$log" >&2
        rm -f "$log"
    fi
    if [ "$need" = REQUIRED ]; then
        say "needed and not installed:$missing"
        say "install them (as root: apt-get install$missing), then run this again"
        exit 2
    fi
    say "not installed:$missing; the tests that need them will be skipped (as root: apt-get install$missing)"
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || debian REQUIRED python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { say "Python 3.11 or newer is needed; $python is $("$python" --version 2>&1). Name another: PYTHON=python3.12 make …"; exit 2; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || debian REQUIRED python3-venv
if [ "$kind" = test ]; then
    debian OPTIONAL gcc libc6-dev libmodbus-dev golang-go golang-golang-x-mod-dev iproute2 mosquitto nodejs openssl postgresql \
        socat softhsm2 swtpm systemd tpm2-tools
fi

lock=requirements/$kind.txt
# what is installed is named by the lock and the project's own declaration: nothing is done twice
stamp=$(cat "$lock" requirements/fuzzer.txt requirements/peers.txt requirements/judges.txt pyproject.toml | sha256sum | cut -d' ' -f1)
if [ -x .venv/bin/suyuan ] && [ "$(cat ".venv/$kind.stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
say "installing pinned packages into .venv ($kind)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
if [ "$kind" = test ]; then
    # its metadata asks for a newer Python than its code needs; only the judge of our logs
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
        --require-hashes -r requirements/judges.txt || say "the judges aics-tlog and axe-core could not be installed; their tests will be skipped"
    # programs that the tests start, in a folder of their own: an import of theirs would disturb ours
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/peers \
        --require-hashes -r requirements/peers.txt || say "dlms-cosem could not be installed; its tests will be skipped"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r requirements/fuzzer.txt ||
        say "atheris could not be installed (only its wheel for x86-64 Linux, Python 3.11, is pinned); guided fuzzing will be skipped"
fi
echo "$stamp" >".venv/$kind.stamp"
say "ready"

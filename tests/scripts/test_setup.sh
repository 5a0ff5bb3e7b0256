#!/usr/bin/env bash
# Tests examples/setup.sh with stand-ins for the package tools: test_setup.sh <source folder> <folder to work in>
set -euo pipefail
script=$1/examples/setup.sh
work=$2
[ -x "$script" ] || { echo "no $script" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work/bin"
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  echo "--- output:" >&2
  cat log >&2
  exit 1
}
stub() {  # stub <name>: a command whose text is read from stdin
  { echo "#!$BASH"; cat; } > "bin/$1"
  chmod +x "bin/$1"
}
run() { PATH=$work/bin "$BASH" "$script" "$@" > log 2>&1; }

for tool in cat sed head; do ln -s "$(command -v $tool)" bin/; done
stub cmake <<< 'echo "cmake version ${CMAKE_IS:-3.25.1}"'
stub c++ <<< 'exit 0'
stub ninja <<< 'exit 0'
stub pkg-config <<< 'exit 0'
stub curl <<< 'exit 0'
stub id <<< 'echo "${UID_IS:-0}"'
stub dpkg-query <<< 'case " $INSTALLED " in *" ${!#} "*) echo "install ok installed" ;; *) exit 1 ;; esac'
stub apt-get <<< 'echo "$@" >> apt'
all="libeigen3-dev libspectra-dev zlib1g-dev libcairo2-dev ca-certificates"

INSTALLED=$all run || fail "nothing is missing"
[ ! -e apt ] || fail "called apt-get although nothing is missing"
INSTALLED="libeigen3-dev" run || fail "installing"
grep -qx -- '-q install -y --no-install-recommends libspectra-dev zlib1g-dev libcairo2-dev ca-certificates' apt || fail "$(cat apt)"
rm apt
INSTALLED="libeigen3-dev libspectra-dev" run --minimal || fail "--minimal"
[ ! -e apt ] || fail "--minimal wants more than it needs"
rm bin/curl
INSTALLED=$all run || fail "without a downloader"
grep -q ' curl$' apt || fail "$(cat apt)"
rm apt
stub wget <<< 'exit 0'
INSTALLED=$all run || fail "with wget"
[ ! -e apt ] || fail "wants curl beside wget"
rm bin/c++ bin/ninja
INSTALLED=$all run --tests --bench || fail "--tests --bench"
grep -q 'g++ ninja-build doctest-dev libboost-context-dev libbenchmark-dev$' apt || fail "$(cat apt)"
rm apt
stub c++ <<< 'exit 0'
stub ninja <<< 'exit 0'

if INSTALLED=$all run --tests --check; then fail "--check passes although doctest and Boost.Context are missing"; fi
grep -q 'missing: doctest-dev libboost-context-dev$' log || fail "--check does not say what is missing"
[ ! -e apt ] || fail "--check installed something"

if INSTALLED=$all UID_IS=1000 run --tests; then fail "installed without the right to"; fi
grep -q 'ask somebody who is to run: apt-get install doctest-dev libboost-context-dev$' log || fail "does not say what to install"
stub sudo <<< 'echo sudo >> apt; "$@"'
INSTALLED=$all UID_IS=1000 run --tests || fail "through sudo"
grep -qx sudo apt || fail "did not use sudo"
rm -f apt

if INSTALLED="$all cmake" CMAKE_IS=3.22.1 run; then fail "took an old CMake"; fi
grep -q 'needs CMake 3.25 or newer and cmake version 3.22.1' log || fail "does not name the old CMake"
INSTALLED=$all CMAKE_IS=4.0.2 run || fail "refused CMake 4"

if run --unknown; then fail "took an unknown argument"; fi
grep -q 'unknown argument --unknown' log || fail "does not name the unknown argument"
rm bin/apt-get
if run; then fail "claims success without apt-get"; fi
for word in Fedora Arch Homebrew Spectra; do grep -q $word log || fail "says nothing about $word"; done
echo passed

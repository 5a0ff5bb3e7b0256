#!/usr/bin/env bash
# Installs what flatland's build needs and this machine lacks (Debian, Ubuntu); says what is needed elsewhere.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: setup.sh [--minimal] [--tests] [--bench] [--sanitizers] [--check]
  (nothing)      compiler, CMake, Ninja, Eigen, Spectra, zlib, Cairo, curl: library, examples, pictures, their data
  --minimal      without zlib, Cairo and curl
  --tests        also doctest, and Boost.Context for the tests of CUDA kernels without a GPU
  --bench        also Google Benchmark
  --sanitizers   also clang and its OpenMP, for the tsan preset, clang-format and ccache
  --check        installs nothing; lists what is missing and fails when something is
TEXT
}

minimal=no tests=no bench=no sanitizers=no check=no
for argument in "$@"; do
  case $argument in
    --minimal) minimal=yes ;;
    --tests) tests=yes ;;
    --bench) bench=yes ;;
    --sanitizers) sanitizers=yes ;;
    --check) check=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup.sh: unknown argument $argument" >&2; usage >&2; exit 2 ;;
  esac
done

have() { command -v "$1" > /dev/null 2>&1; }
can_download() { have curl || have wget; }
cmake_is_new_enough() {
  have cmake || return 1
  local version
  version=$(cmake --version | sed -n 's/^cmake version \([0-9]*\.[0-9]*\).*/\1/p')
  [ "${version%%.*}" -gt 3 ] || { [ "${version%%.*}" -eq 3 ] && [ "${version##*.}" -ge 25 ]; }
}
old_cmake() {
  echo "setup.sh: flatland needs CMake 3.25 or newer and $(cmake --version | head -n 1) is what this system has." >&2
  echo "          'python3 -m pip install --user cmake' brings a newer one (put ~/.local/bin into PATH)." >&2
  exit 1
}

if ! have apt-get || ! have dpkg-query; then
  if have cmake && ! cmake_is_new_enough; then old_cmake; fi
  cat <<'TEXT'
setup.sh installs packages on Debian and Ubuntu only. Here, install these yourself, then run the cmake command:
  needed     a C++20 compiler (gcc 12, clang 14 or newer), CMake 3.25, Ninja, Eigen 3.4, Spectra 1.0
  optional   OpenMP (threads), zlib (.gz files), Cairo and pkg-config (pictures)
  tests      doctest, Boost.Context; Google Benchmark for the benchmarks
Fedora    sudo dnf install gcc-c++ cmake ninja-build eigen3-devel zlib-devel cairo-devel pkgconf-pkg-config \
            doctest-devel boost-devel google-benchmark-devel
Arch      sudo pacman -S --needed base-devel cmake ninja eigen zlib cairo pkgconf doctest boost benchmark
Homebrew  brew install cmake ninja eigen spectra libomp cairo pkgconf doctest google-benchmark
Spectra is header-only; where the system has no package of it, install its sources with CMake
(https://spectralib.org) and pass -DCMAKE_PREFIX_PATH=<where it is>.
TEXT
  exit 1
fi

wanted=()
want() {  # want <package> <test that it is there by other means>...
  local package=$1
  shift
  if [ $# -gt 0 ] && "$@"; then return; fi
  case $(dpkg-query -W -f='${Status}' "$package" 2> /dev/null || true) in
    *"ok installed") ;;
    *) wanted+=("$package") ;;
  esac
}
want g++ have c++
want cmake cmake_is_new_enough
want ninja-build have ninja
want libeigen3-dev
want libspectra-dev
if [ $minimal = no ]; then
  want zlib1g-dev
  want libcairo2-dev
  want pkg-config have pkg-config
  want curl can_download
  want ca-certificates
fi
if [ $tests = yes ]; then
  want doctest-dev
  want libboost-context-dev
fi
if [ $bench = yes ]; then want libbenchmark-dev; fi
if [ $sanitizers = yes ]; then
  want clang have clang++
  want libomp-dev
  want clang-format have clang-format
  want ccache have ccache
fi

if [ ${#wanted[@]} -gt 0 ]; then
  if [ $check = yes ]; then
    echo "setup.sh: missing: ${wanted[*]}" >&2
    exit 1
  fi
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! have sudo; then
      echo "setup.sh: not root and no sudo; ask somebody who is to run: apt-get install ${wanted[*]}" >&2
      exit 1
    fi
    sudo=(sudo)
  fi
  echo "setup.sh: installing ${wanted[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get -q update
  "${sudo[@]}" apt-get -q install -y --no-install-recommends "${wanted[@]}"
fi
cmake_is_new_enough || old_cmake
echo "setup.sh: everything is there"

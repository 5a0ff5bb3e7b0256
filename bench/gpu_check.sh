#!/usr/bin/env bash
# Builds flatland with CUDA, runs its tests on the GPU, compute-sanitizer over the kernel tests, and the benchmarks, and
# prints one table. Needs a GPU and no network.
#   bench/gpu_check.sh [--prefix <staged packages>] [--data <folder with mnist/>] [--out <folder>] [--arch 90]
#                      [--rival <command>] [--quick]
# The packages are found under --prefix (laid out as under /usr) or where the system has them. --rival times another
# program in the same run, such as a PyTorch script. --quick leaves out the slow sanitizer tools. Logs and results stay
# in --out. Fails when a step fails, after all of them.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

prefix="" data=${FLATLAND_DATA_DIR:-} out=out/gpu_check arch=native rival="" quick=no
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --arch) arch=$2; shift 2 ;;
    --rival) rival=$2; shift 2 ;;
    --quick) quick=yes; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "gpu_check.sh: unknown argument $1; see --help" >&2; exit 2 ;;
  esac
done
mkdir -p "$out"
if [ -n "$data" ]; then
  FLATLAND_DATA_DIR=$(cd "$data" && pwd) || exit
  export FLATLAND_DATA_DIR
fi
export FLATLAND_REQUIRE_CUDA=1
build=build/gpu
table=()
failed=no
step() {  # step <title> <log name> <command>...
  local title=$1 log=$out/$2.log start=$SECONDS verdict=passed
  shift 2
  echo "=== $title"
  if ! "$@" > "$log" 2>&1; then
    verdict=FAILED failed=yes
    tail -n 30 "$log"
  fi
  table+=("$(printf '%-34s %-7s %5d s' "$title" "$verdict" $((SECONDS - start)))")
}

configure() {
  cmake -S . -B $build -G Ninja -D CMAKE_BUILD_TYPE=Release -D FLATLAND_CUDA=ON -D CMAKE_CUDA_ARCHITECTURES="$arch" \
    -D FLATLAND_PLOT=AUTO -D FLATLAND_TEST_CONSUMERS=OFF ${prefix:+-D CMAKE_PREFIX_PATH="$(cd "$prefix" && pwd)"}
}
build() { cmake --build $build && cmake --build $build --target bench; }
tests() { ctest --test-dir $build --output-on-failure -j 4 -E '^(readme|scripts)[.]'; }
sanitize() {  # sanitize <tool>
  FLATLAND_TEST_DEVICE=cuda compute-sanitizer --tool "$1" --error-exitcode 1 --launch-timeout 60 \
    $build/tests/test_kernels "--test-case=*on every device*"
}
demo() { $build/examples/quickstart --device "$1" --out "$out/quickstart_$1"; }
benchmark() {
  $build/bench/bench_gpu --benchmark_min_time=0.5 --benchmark_repetitions=7 --benchmark_report_aggregates_only=true \
    --benchmark_out="$out/bench_gpu.json" --benchmark_out_format=json
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
step "configure" configure configure
step "build" build build
step "tests on the GPU" tests tests
step "compute-sanitizer memcheck" memcheck sanitize memcheck
if [ $quick = no ]; then
  step "compute-sanitizer racecheck" racecheck sanitize racecheck
  step "compute-sanitizer initcheck" initcheck sanitize initcheck
  step "compute-sanitizer synccheck" synccheck sanitize synccheck
fi
step "quickstart on the GPU" quickstart_cuda demo cuda
step "quickstart on the CPU" quickstart_cpu demo cpu
step "benchmarks" bench_gpu benchmark
[ -z "$rival" ] || step "rival" rival bash -c "$rival"

echo
grep -h "10-NN\|  train \|  unseen " "$out"/quickstart_*.log
grep -h "_median\|^bench" "$out/bench_gpu.log"
[ -z "$rival" ] || cat "$out/rival.log"
echo
date -u +%F
printf '%s\n' "${table[@]}"
[ $failed = no ]

#include <flatland/kernels/optimizer_cuda.h>
#include <flatland/kernels/optimizer_formulas.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

constexpr int k_threads = 256;
constexpr int k_values = 4;  // of a thread
constexpr std::int64_t k_tile = k_values * k_threads;
constexpr int k_most = 64;  // parameters of a launch

// Parameters, cut into tiles: parameter k has the blocks first_block[k] .. first_block[k + 1] - 1.
template <class T>
struct Batch {
  ParameterView<T> parameter[k_most];
  unsigned first_block[k_most + 1] = {};
  int count = 0;
};
static_assert(sizeof(Batch<double>) < 3584);  // kernel arguments take 4 KB

// Called by a whole warp; its first lane gets the constants.
template <class T>
__device__ SgdConstants<T> constants_of(const SgdRule& rule, double lr, const ParameterClock* clock) {
  return SgdConstants<T>(rule, lr, clock != nullptr ? clock->steps + 1 : 1);
}
template <class T>
__device__ AdamConstants<T> constants_of(const AdamRule& rule, double lr, const ParameterClock* clock) {
  const double power = pow(threadIdx.x == 0 ? rule.beta1 : rule.beta2, static_cast<double>(clock->steps + 1));
  return AdamConstants<T>(rule, lr, power, __shfl_sync(k_all_lanes, power, 1));
}

template <class T>
__device__ void update(const SgdConstants<T>& c, bool keeps_velocity, T& value, T grad, T& m, T&) {
  if (keeps_velocity)
    sgd_update(c, value, grad, m);
  else
    sgd_update(c, value, grad);
}
template <class T>
__device__ void update(const AdamConstants<T>& c, bool, T& value, T grad, T& m, T& v) {
  adam_update(c, value, grad, m, v);
}

// A block a tile. The last block of a parameter to be done moves its clock on: all have read it by then.
template <class Constants, class Rule, class T>
__global__ void step_kernel(const __grid_constant__ Batch<T> batch, Rule rule, const double* lr) {
  FLATLAND_SHARED(Constants, shared, 1);
  int k = 0;
  while (batch.first_block[k + 1] <= blockIdx.x) ++k;
  const ParameterView<T> p = batch.parameter[k];
  const std::int64_t begin = (blockIdx.x - batch.first_block[k]) * k_tile + threadIdx.x;

  T value[k_values] = {}, grad[k_values] = {}, m[k_values] = {}, v[k_values] = {};
#pragma unroll
  for (int r = 0; r < k_values; ++r) {
    const std::int64_t i = begin + r * k_threads;
    if (i >= p.n) break;
    value[r] = p.value[i];
    grad[r] = p.grad[i];
    if (p.m != nullptr) m[r] = p.m[i];
    if (p.v != nullptr) v[r] = p.v[i];
  }
  if (threadIdx.x < k_warp) {
    const Constants own = constants_of<T>(rule, *lr, p.clock);
    if (threadIdx.x == 0) shared[0] = own;
  }
  __syncthreads();
  const Constants c = shared[0];
#pragma unroll
  for (int r = 0; r < k_values; ++r) {
    const std::int64_t i = begin + r * k_threads;
    if (i >= p.n) break;
    update(c, p.m != nullptr, value[r], grad[r], m[r], v[r]);
    p.value[i] = value[r];
    if (p.m != nullptr) p.m[i] = m[r];
    if (p.v != nullptr) p.v[i] = v[r];
  }
  if (threadIdx.x != 0 || p.clock == nullptr) return;
  const unsigned blocks = batch.first_block[k + 1] - batch.first_block[k];
  if (atomicAdd(&p.clock->arrived, 1ull) + 1 != blocks) return;
  p.clock->arrived = 0;
  p.clock->steps += 1;
}

template <class Constants, class Rule, class T>
void step(const Exec& exec, const Rule& rule, const double* lr, std::span<const ParameterView<T>> parameters,
          bool keeps_m, bool keeps_v) {
  Batch<T> batch;
  const auto run = [&] {
    launch(exec, step_kernel<Constants, Rule, T>, batch.first_block[batch.count], k_threads, 0, batch, rule,
           lr);
    batch = {};
  };
  for (ParameterView<T> p : parameters) {
    if (p.n == 0) continue;
    if (!keeps_m) p.m = nullptr;
    if (!keeps_v) p.v = nullptr;
    if (batch.count == k_most) run();
    const int k = batch.count++;
    batch.parameter[k] = p;
    batch.first_block[k + 1] = batch.first_block[k] + static_cast<unsigned>(ceil_div(p.n, k_tile));
  }
  run();
}

}  // namespace

template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, const double* lr,
              std::span<const ParameterView<T>> parameters) {
  step<SgdConstants<T>>(exec, rule, lr, parameters, rule.momentum != 0, false);
}

template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, const double* lr,
               std::span<const ParameterView<T>> parameters) {
  step<AdamConstants<T>>(exec, rule, lr, parameters, true, true);
}

#define FLATLAND_INSTANTIATE(T)                                                                          \
  template void sgd_step(const Exec&, const SgdRule&, const double*, std::span<const ParameterView<T>>); \
  template void adam_step(const Exec&, const AdamRule&, const double*, std::span<const ParameterView<T>>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda

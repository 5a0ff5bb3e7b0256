#include <flatland/kernels/optimizer_cuda.h>
#include <flatland/kernels/optimizer_formulas.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

constexpr int k_values = 4;  // of a thread
constexpr std::int64_t k_update_tile = k_values * k_threads, k_clip_tile = 4096;

// Views of a launch, cut into tiles: view k has the blocks first_block[k] .. first_block[k + 1] - 1.
template <class View, std::int64_t tile, int most>
struct Batch {
  View view[most];
  unsigned first_block[most + 1] = {};
  int count = 0;

  unsigned blocks() const { return first_block[count]; }
  void add(const View& v) {
    view[count] = v;
    first_block[count + 1] = first_block[count] + static_cast<unsigned>(ceil_div(v.n, tile));
    ++count;
  }
  // Of the calling thread's block.
  __device__ int own() const {
    int k = 0;
    while (first_block[k + 1] <= blockIdx.x) ++k;
    return k;
  }
  __device__ std::int64_t begin(int k) const { return (blockIdx.x - first_block[k]) * tile; }
};
template <class T>
using Parameters = Batch<ParameterView<T>, k_update_tile, 56>;
template <class T>
using Gradients = Batch<GradientView<T>, k_clip_tile, 128>;
static_assert(sizeof(Parameters<double>) < 3584 && sizeof(Gradients<double>) < 3584);  // arguments take 4 KB

// Calls run(batch, blocks before it) for all views; returns the number of blocks.
template <class View, std::int64_t tile, int most, class Run>
std::int64_t for_batches(std::span<const View> views, Batch<View, tile, most> batch, const Run& run) {
  std::int64_t blocks = 0;
  const auto flush = [&] {
    if (batch.count > 0) run(batch, blocks);
    blocks += batch.blocks();
    batch = {};
  };
  for (const View& view : views) {
    if (view.n == 0) continue;
    if (batch.count == most) flush();
    batch.add(view);
  }
  flush();
  return blocks;
}

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
__device__ RmspropConstants<T> constants_of(const RmspropRule& rule, double lr, const ParameterClock*) {
  return RmspropConstants<T>(rule, lr);
}

// `p` says which state there is.
template <class T>
__device__ void update(const SgdConstants<T>& c, const ParameterView<T>& p, T& value, T grad, T& m, T&, T&) {
  if (p.m != nullptr)
    sgd_update(c, value, grad, m);
  else
    sgd_update(c, value, grad);
}
template <class T>
__device__ void update(const AdamConstants<T>& c, const ParameterView<T>& p, T& value, T grad, T& m, T& v,
                       T& w) {
  if (p.w != nullptr)
    adam_update<true>(c, value, grad, m, v, w);
  else
    adam_update<false>(c, value, grad, m, v, w);
}
template <class T>
__device__ void update(const RmspropConstants<T>& c, const ParameterView<T>&, T& value, T grad, T& m, T& v,
                       T& w) {
  rmsprop_update(c, value, grad, m, v, w);
}

// A block a tile. The last block of a parameter to be done moves its clock on: all have read it by then.
template <class Constants, class Rule, class T>
__global__ void step_kernel(const __grid_constant__ Parameters<T> batch, Rule rule, LearningRate lr) {
  FLATLAND_SHARED(Constants, shared, 1);
  const int k = batch.own();
  const ParameterView<T> p = batch.view[k];
  const std::int64_t begin = batch.begin(k) + threadIdx.x;

  T value[k_values] = {}, grad[k_values] = {}, m[k_values] = {}, v[k_values] = {}, w[k_values] = {};
#pragma unroll
  for (int r = 0; r < k_values; ++r) {
    const std::int64_t i = begin + r * k_threads;
    if (i >= p.n) break;
    value[r] = p.value[i];
    grad[r] = p.grad[i];
    if (p.m != nullptr) m[r] = p.m[i];
    if (p.v != nullptr) v[r] = p.v[i];
    if (p.w != nullptr) w[r] = p.w[i];
  }
  if (threadIdx.x < k_warp) {
    const Constants own = constants_of<T>(rule, lr.get(), p.clock);
    if (threadIdx.x == 0) shared[0] = own;
  }
  __syncthreads();
  const Constants c = shared[0];
#pragma unroll
  for (int r = 0; r < k_values; ++r) {
    const std::int64_t i = begin + r * k_threads;
    if (i >= p.n) break;
    update(c, p, value[r], grad[r], m[r], v[r], w[r]);
    p.value[i] = value[r];
    if (p.m != nullptr) p.m[i] = m[r];
    if (p.v != nullptr) p.v[i] = v[r];
    if (p.w != nullptr) p.w[i] = w[r];
  }
  if (threadIdx.x != 0 || p.clock == nullptr) return;
  const unsigned blocks = batch.first_block[k + 1] - batch.first_block[k];
  if (atomicAdd(&p.clock->arrived, 1ull) + 1 != blocks) return;
  p.clock->arrived = 0;
  p.clock->steps += 1;
}

template <class Constants, class Rule, class T>
void step(const Exec& exec, const Rule& rule, LearningRate lr, std::span<const ParameterView<T>> parameters,
          bool keeps_m, bool keeps_v, bool keeps_w) {
  for_batches(parameters, Parameters<T>(), [&](Parameters<T>& batch, std::int64_t) {
    for (int k = 0; k < batch.count; ++k) {
      if (!keeps_m) batch.view[k].m = nullptr;
      if (!keeps_v) batch.view[k].v = nullptr;
      if (!keeps_w) batch.view[k].w = nullptr;
    }
    launch(exec, step_kernel<Constants, Rule, T>, batch.blocks(), k_threads, 0, batch, rule, lr);
  });
}

// --- clipping -----------------------------------------------------------------------------------------

// Calls f(value) for the calling thread's values of its block's tile.
template <class T, class F>
__device__ void for_tile(const Gradients<T>& gradients, const F& f) {
  const int k = gradients.own();
  const GradientView<T> view = gradients.view[k];
  const std::int64_t begin = gradients.begin(k);
  const std::int64_t end = begin + k_clip_tile < view.n ? begin + k_clip_tile : view.n;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += k_threads) f(view.data[i]);
}

template <class T>
__global__ void squares_kernel(const __grid_constant__ Gradients<T> gradients, double* part) {
  double sum = 0;
  for_tile(gradients, [&](T x) { sum += static_cast<double>(x) * static_cast<double>(x); });
  sum = block_sum<k_threads>(sum);
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

// One block: *factor from the sum of the parts, and *norm.
template <class T>
__global__ void clip_factor_kernel(const double* part, std::int64_t parts, double max_norm, T* factor,
                                   T* norm) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < parts; i += k_threads) sum += part[i];
  sum = block_sum<k_threads>(sum);
  if (threadIdx.x != 0) return;
  *norm = static_cast<T>(kernels::sqrt(sum));
  *factor = clip_factor<T>(kernels::sqrt(sum), max_norm);
}

template <class T>
__global__ void scale_kernel(const __grid_constant__ Gradients<T> gradients, const T* factor) {
  const T f = *factor;
  if (f == T(1)) return;
  for_tile(gradients, [&](T& x) { x *= f; });
}

}  // namespace

template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, LearningRate lr,
              std::span<const ParameterView<T>> parameters) {
  step<SgdConstants<T>>(exec, rule, lr, parameters, rule.momentum != 0, false, false);
}

template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, LearningRate lr,
               std::span<const ParameterView<T>> parameters) {
  step<AdamConstants<T>>(exec, rule, lr, parameters, true, true, rule.amsgrad);
}

template <class T>
void rmsprop_step(const Exec& exec, const RmspropRule& rule, LearningRate lr,
                  std::span<const ParameterView<T>> parameters) {
  step<RmspropConstants<T>>(exec, rule, lr, parameters, rule.momentum != 0, true, rule.centered);
}

template <class T>
void clip_norm(const Exec& exec, double max_norm, std::span<const GradientView<T>> gradients, T* norm) {
  const Gradients<T> none;
  const std::int64_t blocks = for_batches(gradients, none, [](const Gradients<T>&, std::int64_t) {});
  const ScratchArray<double> part(exec, blocks);
  const ScratchArray<T> factor(exec, 1);
  for_batches(gradients, none, [&](const Gradients<T>& batch, std::int64_t before) {
    launch(exec, squares_kernel<T>, batch.blocks(), k_threads, 0, batch, part.data() + before);
  });
  launch(exec, clip_factor_kernel<T>, 1, k_threads, 0, part.data(), blocks, max_norm, factor.data(), norm);
  for_batches(gradients, none, [&](const Gradients<T>& batch, std::int64_t) {
    launch(exec, scale_kernel<T>, batch.blocks(), k_threads, 0, batch, factor.data());
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                           \
  template void sgd_step(const Exec&, const SgdRule&, LearningRate, std::span<const ParameterView<T>>);   \
  template void adam_step(const Exec&, const AdamRule&, LearningRate, std::span<const ParameterView<T>>); \
  template void rmsprop_step(const Exec&, const RmspropRule&, LearningRate,                               \
                             std::span<const ParameterView<T>>);                                          \
  template void clip_norm(const Exec&, double, std::span<const GradientView<T>>, T*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda

#include <flatland/kernels/exec_cuda.h>
#include <flatland/kernels/cublas.cuh>

namespace flatland::kernels {

namespace cuda {

void check(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // the next call starts clean where the error is not a lasting one
  detail::fail("CUDA: ", what, " failed: ", cudaGetErrorString(status));
}

void check(cublasStatus_t status, std::string_view what) {
  FLATLAND_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLAS: ", what,
                 " failed: ", cublasGetStatusString(status));
}

std::string unusable() {
  static const std::string reason = [] {
    int devices = 0;
    const cudaError_t status = cudaGetDeviceCount(&devices);
    if (status == cudaSuccess && devices > 0) return std::string();
    static_cast<void>(cudaGetLastError());
    return std::string(status == cudaSuccess ? "no GPU is visible" : cudaGetErrorString(status));
  }();
  return reason;
}

namespace {

// One stream for the whole process: memory that one Exec gives back may be used by another at once, and is
// used in order.
cudaStream_t process_stream() {
  static const cudaStream_t stream = [] {
    cudaStream_t made = nullptr;
    check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "making a stream");
    return made;
  }();
  return stream;
}

// What cuBLAS works in, for all handles since they share the stream. Its own would be allocated anew inside
// each graph that is captured.
void* process_workspace(std::size_t bytes) {
  static void* const workspace = allocate(bytes);
  FLATLAND_CHECK(workspace != nullptr, "CUDA: no ", bytes, " bytes left for cuBLAS to work in");
  return workspace;
}

}  // namespace

std::shared_ptr<CudaContext> make_context() {
  return std::make_shared<CudaContext>();
}

void wait(const Exec& exec) {
  check(cudaStreamSynchronize(exec.cuda().stream), "a kernel or copy");
}

void* allocate(std::size_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, std::max<std::size_t>(bytes, 1));
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  check(status, "allocating memory");
  return block;
}

// Waits for kernels that may still use the block.
void release(void* block) noexcept {
  static_cast<void>(cudaFree(block));
}

void copy_to_host(const Exec& exec, void* dst, const void* src, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, exec.cuda().stream), "a copy to the host");
  wait(exec);
}

void copy_to_device(const Exec& exec, void* dst, const void* src, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, exec.cuda().stream), "a copy to the device");
  wait(exec);
}

void copy_within(const Exec& exec, void* dst, const void* src, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, exec.cuda().stream),
        "a copy on the device");
}

void copy_rows(const Exec& exec, void* dst, std::size_t dst_step, const void* src, std::size_t src_step,
               std::size_t row_bytes, std::int64_t rows) {
  if (row_bytes == 0 || rows == 0) return;
  // One piece: without the limit that a step has there, and as fast as a copy can be.
  if (rows == 1 || (dst_step == row_bytes && src_step == row_bytes))
    return copy_within(exec, dst, src, row_bytes * static_cast<std::size_t>(rows));
  check(cudaMemcpy2DAsync(dst, dst_step, src, src_step, row_bytes, static_cast<std::size_t>(rows),
                          cudaMemcpyDeviceToDevice, exec.cuda().stream),
        "a copy on the device");
}

}  // namespace cuda

CudaContext::CudaContext() {
  cuda::check(cublasCreate(&blas), "making a handle");
  use(cuda::process_stream());
  // Products in float32 throughout: the faster modes round their inputs.
  cuda::check(cublasSetMathMode(blas, CUBLAS_PEDANTIC_MATH), "setting the precision");
}

void CudaContext::use(cudaStream_t other) {
  constexpr std::size_t workspace = std::size_t{32} << 20;  // what cuBLAS takes itself on Hopper
  stream = other;
  cuda::check(cublasSetStream(blas, stream), "setting the stream");  // which forgets the workspace
  cuda::check(cublasSetWorkspace(blas, cuda::process_workspace(workspace), workspace),
              "setting the workspace");
}

CudaContext::~CudaContext() {
  static_cast<void>(cublasDestroy(blas));
}

}  // namespace flatland::kernels

#include "memory.h"
#include "runtime.h"

#include <cublas_v2.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  bool workspace = false;
};

namespace cuda_on_cpu {

namespace {

template <class T>
struct Gemm {
  cublasOperation_t op_a, op_b;
  int m, n, k;
  const T* alpha;
  const T* a;
  int lda;
  long long stride_a;
  const T* b;
  int ldb;
  long long stride_b;
  const T* beta;
  T* c;
  int ldc;
  long long stride_c;
  int count;
  bool on_tensor_cores = false;  // which see 11 significant bits

  int rows_a() const { return op_a == CUBLAS_OP_N ? m : k; }
  int rows_b() const { return op_b == CUBLAS_OP_N ? k : n; }
  bool valid() const {
    return m >= 0 && n >= 0 && k >= 0 && count >= 0 && lda >= std::max(1, rows_a()) &&
           ldb >= std::max(1, rows_b()) && ldc >= std::max(1, m);
  }

  void run(T alpha_value, T beta_value) const {
    if (m == 0 || n == 0) return;
    const DeviceAccess access;
    for (int i = 0; i < count; ++i) {
      const T* const a_i = a + i * stride_a;
      const T* const b_i = b + i * stride_b;
      T* const c_i = c + i * stride_c;
      if (k > 0 && alpha_value != T{0}) {
        check(a_i, rows_a(), op_a == CUBLAS_OP_N ? k : m, lda, "cuBLAS gemm: a");
        check(b_i, rows_b(), op_b == CUBLAS_OP_N ? n : k, ldb, "cuBLAS gemm: b");
      }
      check(c_i, m, n, ldc, "cuBLAS gemm: c");
      multiply(a_i, b_i, c_i, alpha_value, beta_value);
    }
  }

 private:
  T seen(T value) const {
    if constexpr (std::is_same_v<T, float>)
      if (on_tensor_cores) return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & ~0x1fffu);
    return value;
  }

  static void check(const T* p, int rows, int cols, int ld, const char* who) {
    check_device_range(
        p,
        (static_cast<std::size_t>(cols - 1) * static_cast<std::size_t>(ld) + static_cast<std::size_t>(rows)) *
            sizeof(T),
        who);
  }

  void multiply(const T* a_i, const T* b_i, T* c_i, T alpha_value, T beta_value) const {
    const std::ptrdiff_t rows = m, ld_a = lda, ld_b = ldb, ld_c = ldc, depth = alpha_value != T{0} ? k : 0;
    std::vector<T> op_of_a(static_cast<std::size_t>(rows * depth)), sum(static_cast<std::size_t>(rows));
    for (std::ptrdiff_t p = 0; p < depth; ++p)
      for (std::ptrdiff_t i = 0; i < rows; ++i)
        op_of_a[static_cast<std::size_t>(i + p * rows)] =
            seen(op_a == CUBLAS_OP_N ? a_i[i + p * ld_a] : a_i[p + i * ld_a]);
    for (std::ptrdiff_t j = 0; j < n; ++j) {
      std::fill(sum.begin(), sum.end(), T{0});
      for (std::ptrdiff_t p = 0; p < depth; ++p) {
        const T value = seen(op_b == CUBLAS_OP_N ? b_i[p + j * ld_b] : b_i[j + p * ld_b]);
        const T* const column = op_of_a.data() + p * rows;
        T* const s = sum.data();
        for (std::ptrdiff_t i = 0; i < rows; ++i) s[i] += column[i] * value;
      }
      T* const out = c_i + j * ld_c;
      for (std::ptrdiff_t i = 0; i < rows; ++i) {
        const T product = alpha_value * sum[static_cast<std::size_t>(i)];
        out[i] = beta_value == T{0} ? product : product + beta_value * out[i];
      }
    }
  }
};

template <class T>
cublasStatus_t gemm(cublasHandle_t handle, const Gemm<T>& call) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!call.valid()) return CUBLAS_STATUS_INVALID_VALUE;
  if (call.m == 0 || call.n == 0 || call.count == 0) return CUBLAS_STATUS_SUCCESS;
  // Recorded without a workspace given, cuBLAS would record memory of its own, which nobody wants in a graph.
  cudaStreamCaptureStatus status{};
  if (cudaStreamIsCapturing(handle->stream, &status) == cudaSuccess &&
      status == cudaStreamCaptureStatusActive && !handle->workspace)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  std::function<void()> work;
  if (handle->pointer_mode == CUBLAS_POINTER_MODE_HOST) {
    work = [call, alpha = *call.alpha, beta = *call.beta] { call.run(alpha, beta); };
  } else {
    work = [call] {
      const DeviceAccess access;
      call.run(*call.alpha, *call.beta);
    };
  }
  return submit(handle->stream, cudaGraphNodeTypeKernel, work) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                              : CUBLAS_STATUS_INVALID_VALUE;
}

}  // namespace
}  // namespace cuda_on_cpu

using namespace cuda_on_cpu;

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown cuBLAS status";
}
const char* cublasGetStatusString(cublasStatus_t status) {
  return cublasGetStatusName(status);
}

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  handle->workspace = false;  // as cuBLAS says
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream(cublasHandle_t handle, cudaStream_t* stream) {
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetAtomicsMode(cublasHandle_t, cublasAtomicsMode_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode) {
  handle->pointer_mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  check_device_range(workspace, bytes, "cublasSetWorkspace:");
  handle->workspace = true;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                           int n, int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                           const float* beta, float* c, int ldc) {
  return gemm<float>(handle, {op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1});
}
cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                           int n, int k, const double* alpha, const double* a, int lda, const double* b,
                           int ldb, const double* beta, double* c, int ldc) {
  return gemm<double>(handle, {op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1});
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a,
                                         cublasOperation_t op_b, int m, int n, int k, const float* alpha,
                                         const float* a, int lda, long long stride_a, const float* b, int ldb,
                                         long long stride_b, const float* beta, float* c, int ldc,
                                         long long stride_c, int count) {
  return gemm<float>(handle, {op_a, op_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc,
                              stride_c, count});
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a,
                                         cublasOperation_t op_b, int m, int n, int k, const double* alpha,
                                         const double* a, int lda, long long stride_a, const double* b,
                                         int ldb, long long stride_b, const double* beta, double* c, int ldc,
                                         long long stride_c, int count) {
  return gemm<double>(handle, {op_a, op_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc,
                               stride_c, count});
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType a_type, int lda,
                            const void* b, cudaDataType b_type, int ldb, const void* beta, void* c,
                            cudaDataType c_type, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t) {
  if (a_type != b_type || a_type != c_type) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool wide = compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
  if (wide != (a_type == CUDA_R_64F)) return CUBLAS_STATUS_NOT_SUPPORTED;
  // cuBLAS does not say what becomes of the one beside the other.
  const bool tensor = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  if (tensor && handle->math == CUBLAS_PEDANTIC_MATH) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto call = [&]<class T>(T*) {
    return gemm<T>(handle, {op_a, op_b, m, n, k, static_cast<const T*>(alpha), static_cast<const T*>(a), lda,
                            0, static_cast<const T*>(b), ldb, 0, static_cast<const T*>(beta),
                            static_cast<T*>(c), ldc, 0, 1, tensor});
  };
  return wide ? call(static_cast<double*>(nullptr)) : call(static_cast<float*>(nullptr));
}

// Products against double loops: every transposition, leading dimensions, alpha and beta.
#include "launch.h"

#include <cublas_v2.h>
#include <doctest/doctest.h>
#include <tests/support/errors.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace flatland::test {

namespace {

struct Blas {
  cublasHandle_t handle = nullptr;
  cudaStream_t stream = nullptr;
  Blas() {
    REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    require_success(cudaStreamCreate(&stream));
    REQUIRE(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasSetMathMode(handle, CUBLAS_DEFAULT_MATH) == CUBLAS_STATUS_SUCCESS);
  }
  ~Blas() {
    cublasDestroy(handle);
    cudaStreamDestroy(stream);
  }
};

cublasStatus_t gemm(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                    const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta,
                    float* c, int ldc) {
  return cublasSgemm(h, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
cublasStatus_t gemm(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                    const double* alpha, const double* a, int lda, const double* b, int ldb,
                    const double* beta, double* c, int ldc) {
  return cublasDgemm(h, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
std::vector<T> numbers(int rows, int cols, int seed) {
  std::vector<T> values(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  unsigned state = static_cast<unsigned>(seed) * 2654435761u + 1;
  for (T& value : values)
    value = static_cast<T>(static_cast<int>((state = state * 1664525u + 1013904223u) >> 16) - 32768) / 32768;
  return values;
}

// Element (i, j) of op(a).
template <class T>
double at(const std::vector<T>& a, cublasOperation_t op, int ld, int i, int j) {
  return a[static_cast<std::size_t>(op == CUBLAS_OP_N ? i + j * ld : j + i * ld)];
}

struct Shape {
  int m, n, k;
};

}  // namespace

TEST_CASE_TEMPLATE("a product is that of the double loop", T, float, double) {
  const Blas blas;
  for (const Shape& shape : {Shape{1, 1, 1}, {3, 2, 4}, {7, 5, 1}, {1, 9, 33}, {16, 16, 16}, {31, 17, 100}}) {
    const int m = shape.m, n = shape.n, k = shape.k;
    for (const auto op_a : {CUBLAS_OP_N, CUBLAS_OP_T}) {
      for (const auto op_b : {CUBLAS_OP_N, CUBLAS_OP_T}) {
        for (const T beta : {T{0}, T{1}, T{-0.5}}) {
          CAPTURE(m);
          CAPTURE(n);
          CAPTURE(k);
          CAPTURE(op_a);
          CAPTURE(op_b);
          CAPTURE(beta);
          const int lda = (op_a == CUBLAS_OP_N ? m : k) + 2, ldb = (op_b == CUBLAS_OP_N ? k : n) + 1,
                    ldc = m + 3;
          const T alpha = T{0.75};
          const std::vector<T> a = numbers<T>(lda, op_a == CUBLAS_OP_N ? k : m, 1),
                               b = numbers<T>(ldb, op_b == CUBLAS_OP_N ? n : k, 2);
          // Where beta is 0, what c holds does not matter.
          std::vector<T> c = numbers<T>(ldc, n, 3);
          if (beta == T{0}) std::fill(c.begin(), c.end(), std::numeric_limits<T>::quiet_NaN());
          const DeviceVector<T> device_a(a), device_b(b), device_c(c);
          REQUIRE(gemm(blas.handle, op_a, op_b, m, n, k, &alpha, device_a.data(), lda, device_b.data(), ldb,
                       &beta, device_c.data(), ldc) == CUBLAS_STATUS_SUCCESS);
          const std::vector<T> result = device_c.host();
          for (int j = 0; j < n; ++j) {
            for (int i = 0; i < ldc; ++i) {
              const std::size_t at_c = static_cast<std::size_t>(i + j * ldc);
              if (i >= m) {  // between the columns
                REQUIRE((result[at_c] == c[at_c] || std::isnan(c[at_c])));
                continue;
              }
              double sum = 0;
              for (int p = 0; p < k; ++p) sum += at(a, op_a, lda, i, p) * at(b, op_b, ldb, p, j);
              const double expected =
                  static_cast<double>(alpha) * sum +
                  (beta == T{0} ? 0 : static_cast<double>(beta) * static_cast<double>(c[at_c]));
              // Terms are below 1 and k of them are added.
              REQUIRE(std::abs(static_cast<double>(result[at_c]) - expected) <=
                      (k + 2) * static_cast<double>(std::numeric_limits<T>::epsilon()));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("products of a batch, through GemmEx, with alpha and beta on the device") {
  const Blas blas;
  const float alpha = 2, beta = 0;
  const DeviceVector<float> a(std::vector<float>{1, 2, 3, 4, 5, 6}), b(std::vector<float>{1, 10, 100}), c(3);
  CHECK(cublasSgemmStridedBatched(blas.handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 2, &alpha, a.data(), 1, 2,
                                  b.data(), 2, 0, &beta, c.data(), 1, 1, 3) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.host() == std::vector<float>{42, 86, 130});
  CHECK(cublasGemmEx(blas.handle, CUBLAS_OP_N, CUBLAS_OP_T, 3, 1, 2, &alpha, a.data(), CUDA_R_32F, 3,
                     b.data(), CUDA_R_32F, 1, &beta, c.data(), CUDA_R_32F, 3, CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.host() == std::vector<float>{82, 104, 126});
  CHECK(cublasGemmEx(blas.handle, CUBLAS_OP_N, CUBLAS_OP_T, 3, 1, 2, &alpha, a.data(), CUDA_R_32F, 3,
                     b.data(), CUDA_R_64F, 1, &beta, c.data(), CUDA_R_32F, 3, CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);

  const float fine = 1 + 0x1p-11f;  // a bit more than tensor cores see
  a.set({fine, 1, 1, 1, 1, 1});
  const auto on_tensor_cores = [&] {
    return cublasGemmEx(blas.handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a.data(), CUDA_R_32F, 1,
                        b.data(), CUDA_R_32F, 1, &beta, c.data(), CUDA_R_32F, 1, CUBLAS_COMPUTE_32F_FAST_TF32,
                        CUBLAS_GEMM_DEFAULT);
  };
  CHECK(on_tensor_cores() == CUBLAS_STATUS_SUCCESS);
  CHECK(c.host()[0] == 2);
  REQUIRE(cublasSetMathMode(blas.handle, CUBLAS_PEDANTIC_MATH) == CUBLAS_STATUS_SUCCESS);
  CHECK(on_tensor_cores() == CUBLAS_STATUS_NOT_SUPPORTED);
  a.set({1, 2, 3, 4, 5, 6});
  c.set({82, 104, 126});

  const DeviceVector<float> factors(std::vector<float>{3, 1});
  REQUIRE(cublasSetPointerMode(blas.handle, CUBLAS_POINTER_MODE_DEVICE) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasSgemm(blas.handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, factors.data(), a.data(), 1, b.data(), 1,
                    factors.data() + 1, c.data(), 1) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.host() == std::vector<float>{85, 104, 126});
}

TEST_CASE("a product that leaves its memory, and wrong arguments") {
  const Blas blas;
  const float alpha = 1, beta = 0;
  const DeviceVector<float> a(std::vector<float>(12, 1)), c(9);
  const auto run = [&](int m, int n, int k, int lda) {
    return cublasSgemm(blas.handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &alpha, a.data(), lda, a.data(),
                       std::max(k, 1), &beta, c.data(), std::max(m, 1));
  };
  CHECK(run(3, 3, 4, 3) == CUBLAS_STATUS_SUCCESS);
  CHECK(contains(fault_of([&] { run(3, 3, 5, 3); }), "cuBLAS gemm: a"));
  CHECK(contains(fault_of([&] { run(5, 2, 2, 5); }), "cuBLAS gemm: c"));
  CHECK(run(3, 3, 4, 2) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(run(-1, 3, 4, 3) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(run(0, 3, 4, 3) == CUBLAS_STATUS_SUCCESS);
  CHECK(run(3, 3, 0, 3) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.host() == std::vector<float>(9, 0));
}

TEST_CASE("a captured product takes alpha at once and the matrices at the replay") {
  const Blas blas;
  const DeviceVector<float> a(std::vector<float>{1}), c(std::vector<float>{0}),
      workspace(std::vector<float>{0});
  REQUIRE(cublasSetWorkspace(blas.handle, workspace.data(), sizeof(float)) == CUBLAS_STATUS_SUCCESS);
  float alpha = 2, beta = 0;
  require_success(cudaStreamBeginCapture(blas.stream, cudaStreamCaptureModeGlobal));
  CHECK(cublasSgemm(blas.handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a.data(), 1, a.data(), 1, &beta,
                    c.data(), 1) == CUBLAS_STATUS_SUCCESS);
  alpha = 100;
  cudaGraph_t graph = nullptr;
  require_success(cudaStreamEndCapture(blas.stream, &graph));
  cudaGraphExec_t exec = nullptr;
  require_success(cudaGraphInstantiate(&exec, graph));
  CHECK(c.host().front() == 0);
  a.set({3});
  require_success(cudaGraphLaunch(exec, blas.stream));
  CHECK(c.host().front() == 18);
  require_success(cudaGraphExecDestroy(exec));
  require_success(cudaGraphDestroy(graph));
}

TEST_CASE("a product is recorded only with a workspace, which another stream forgets") {
  Blas blas;
  void* memory = nullptr;
  require_success(cudaMalloc(&memory, 1024));
  float* c = static_cast<float*>(memory);
  const float one = 1, zero = 0;
  const auto record = [&] {
    require_success(cudaStreamBeginCapture(blas.stream, cudaStreamCaptureModeRelaxed));
    const cublasStatus_t status =
        gemm(blas.handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, c, 1, c + 1, 1, &zero, c + 2, 1);
    cudaGraph_t graph = nullptr;
    require_success(cudaStreamEndCapture(blas.stream, &graph));
    require_success(cudaGraphDestroy(graph));
    return status;
  };
  CHECK(record() == CUBLAS_STATUS_NOT_SUPPORTED);
  REQUIRE(cublasSetWorkspace(blas.handle, memory, 1024) == CUBLAS_STATUS_SUCCESS);
  CHECK(record() == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cublasSetStream(blas.handle, blas.stream) == CUBLAS_STATUS_SUCCESS);
  CHECK(record() == CUBLAS_STATUS_NOT_SUPPORTED);
  require_success(cudaFree(memory));
}

}  // namespace flatland::test

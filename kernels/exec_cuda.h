// What exec.cpp and memory.cpp need from CUDA (private).
#pragma once

#include <flatland/kernels/exec.h>

#include <cstddef>
#include <memory>
#include <string>

namespace flatland::kernels::cuda {

// Why no GPU can be used; empty when one can.
std::string unusable();

std::shared_ptr<CudaContext> make_context();
void wait(const Exec& exec);

void* allocate(std::size_t bytes);
void release(void* block) noexcept;
void copy_to_host(const Exec& exec, void* dst, const void* src, std::size_t bytes);
void copy_to_device(const Exec& exec, void* dst, const void* src, std::size_t bytes);
void copy_within(const Exec& exec, void* dst, const void* src, std::size_t bytes);
void copy_rows(const Exec& exec, void* dst, std::size_t dst_step, const void* src, std::size_t src_step,
               std::size_t row_bytes, std::int64_t rows);

}  // namespace flatland::kernels::cuda

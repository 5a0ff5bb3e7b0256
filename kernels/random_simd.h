// Private: the parts of random.h that are compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/random.h>

namespace flatland::kernels {

// out[i] = random.bits64(first + i) for i in [0, n).
template <Isa I>
void philox_bits64(RandomStream random, std::uint64_t first, std::int64_t n, std::uint64_t* out);

// y[i] = low + width u_i, u_i the uniform draw first + i.
template <Isa I, class T>
void uniform_tile(RandomStream random, std::uint64_t first, std::int64_t n, double low, double width, T* y);

// y[i] = mean + deviation z_i, z_i the normal draw first + i.
template <Isa I, class T>
void normal_tile(RandomStream random, std::uint64_t first, std::int64_t n, double mean, double deviation,
                 T* y);

}  // namespace flatland::kernels

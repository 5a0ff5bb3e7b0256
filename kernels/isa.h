// Instruction-set levels: hot CPU code is compiled once a level and chosen at run time.
#pragma once

#include <string_view>
#include <type_traits>

namespace flatland::kernels {

// x86-64, x86-64-v3 (AVX2 and FMA), x86-64-v4 (AVX-512). Other architectures know v1 only: plain C++. A build
// always has v1.
enum class Isa { v1 = 1, v3 = 3, v4 = 4 };
std::string_view name(Isa isa);

// The best level that both this build and this CPU have; the environment variable FLATLAND_ISA=v1|v3|v4, read
// once, lowers it. Error: a level that is unknown or not available.
Isa active_isa();

// Which levels this build has, a bit each; FLATLAND_ISA_LEVELS says so where it is not all of them.
#if defined(FLATLAND_ISA_LEVELS)
inline constexpr unsigned built_levels = FLATLAND_ISA_LEVELS;
#elif defined(__x86_64__)
inline constexpr unsigned built_levels = 1u << 1 | 1u << 3 | 1u << 4;
#else
inline constexpr unsigned built_levels = 1u << 1;
#endif
constexpr bool is_built(Isa isa) {
  return (built_levels >> static_cast<int>(isa) & 1) != 0;
}

// Calls f(std::integral_constant<Isa, level>) with the active level:
//   with_isa([&](auto isa) { softmax_rows<isa, T>(exec, x, y); });
// A function template with an Isa parameter is defined and instantiated in a file *_simd.cpp, which the build
// compiles once a level. Whatever such a file shares with other files is either always inlined or carries the
// level in its template arguments; a test reads the symbol tables to make sure.
template <class F>
decltype(auto) with_isa(F&& f) {
  if constexpr (is_built(Isa::v4))
    if (active_isa() == Isa::v4) return f(std::integral_constant<Isa, Isa::v4>{});
  if constexpr (is_built(Isa::v3))
    if (active_isa() == Isa::v3) return f(std::integral_constant<Isa, Isa::v3>{});
  return f(std::integral_constant<Isa, Isa::v1>{});
}

}  // namespace flatland::kernels

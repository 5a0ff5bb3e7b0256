// Instruction-set levels: hot CPU code is compiled once a level and chosen at run time.
#pragma once

#include <string_view>
#include <type_traits>

namespace flatland::kernels {

// x86-64, x86-64-v3 (AVX2 and FMA), x86-64-v4 (AVX-512). Other architectures know v1 only: plain C++.
enum class Isa { v1 = 1, v3 = 3, v4 = 4 };
std::string_view name(Isa isa);

// The best level that both this build and this CPU have; the environment variable FLATLAND_ISA=v1|v3|v4, read
// once, lowers it. Error: a level that is unknown or not available.
Isa active_isa();

#if defined(__x86_64__)
inline constexpr bool has_isa_levels = true;
#else
inline constexpr bool has_isa_levels = false;
#endif

// Calls f(std::integral_constant<Isa, level>) with the active level:
//   with_isa([&](auto isa) { softmax_rows<isa, T>(exec, x, y); });
// A function template with an Isa parameter is defined and instantiated in a file *_simd.cpp, which the build
// compiles once a level. Whatever such a file shares with other files is either always inlined or carries the
// level in its template arguments; a test reads the symbol tables to make sure.
template <class F>
decltype(auto) with_isa(F&& f) {
  if constexpr (has_isa_levels) {
    switch (active_isa()) {
      case Isa::v4:
        return f(std::integral_constant<Isa, Isa::v4>{});
      case Isa::v3:
        return f(std::integral_constant<Isa, Isa::v3>{});
      case Isa::v1:
        break;
    }
  }
  return f(std::integral_constant<Isa, Isa::v1>{});
}

}  // namespace flatland::kernels

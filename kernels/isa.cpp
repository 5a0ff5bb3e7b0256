#include <flatland/kernels/check.h>
#include <flatland/kernels/isa.h>

#include <cstdlib>

namespace flatland::kernels {

std::string_view name(Isa isa) {
  return isa == Isa::v4 ? "v4" : isa == Isa::v3 ? "v3" : "v1";
}

namespace {

Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4 && is_built(Isa::v4)) return Isa::v4;
  return v3 && is_built(Isa::v3) ? Isa::v3 : Isa::v1;
#else
  return Isa::v1;
#endif
}

Isa choose_isa() {
  const Isa best = best_isa();
  const char* wish = std::getenv("FLATLAND_ISA");
  if (wish == nullptr || *wish == '\0') return best;
  for (const Isa isa : {Isa::v1, Isa::v3, Isa::v4}) {
    if (name(isa) != wish) continue;
    FLATLAND_CHECK(isa <= best && is_built(isa), "FLATLAND_ISA=", wish,
                   " but this machine and this build offer ", name(best),
                   " at most; unset it or choose another level");
    return isa;
  }
  flatland::detail::fail("FLATLAND_ISA=", wish, " is not a level; choose v1, v3 or v4, or unset it");
}

}  // namespace

Isa active_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

}  // namespace flatland::kernels

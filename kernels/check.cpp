#include <flatland/kernels/check.h>

namespace flatland::detail {

void assertion_failed(const char* condition, const char* file, int line) {
  fail("flatland: internal error at ", file, ":", line, ": ", condition,
       " does not hold; please report this");
}

}  // namespace flatland::detail

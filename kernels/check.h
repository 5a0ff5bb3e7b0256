// Errors: who, got, want, and what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace flatland {

// Thrown on every misuse that a caller can cause; what() is one sentence a user can act on.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(text.str());
}
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);
}  // namespace detail

}  // namespace flatland

// Always on. FLATLAND_CHECK(x.cols == y.cols, "pairwise: x is ", x, " but y is ", y);
#define FLATLAND_CHECK(condition, ...)       \
  do {                                       \
    if (!(condition)) [[unlikely]]           \
      ::flatland::detail::fail(__VA_ARGS__); \
  } while (false)

// Our own invariants; checked where NDEBUG is not defined, in .cpp files only.
#ifdef NDEBUG
#define FLATLAND_ASSERT(condition) static_cast<void>(0)
#else
#define FLATLAND_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::flatland::detail::assertion_failed(#condition, __FILE__, __LINE__))
#endif

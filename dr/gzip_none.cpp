// Without zlib.
#include <flatland/dr/file.h>
#include <flatland/dr/gzip.h>
#include <flatland/kernels/check.h>

namespace flatland {

bool gzip_available() {
  return false;
}

std::string detail::gunzip(std::string_view, const std::string& name) {
  detail::fail(
      name,
      ": a gzip file, but this build has no zlib; configure with -DFLATLAND_ZLIB=ON or unpack the file");
}

}  // namespace flatland

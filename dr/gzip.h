// Unpacking gzip. gzip_zlib.cpp or gzip_none.cpp is built.
#pragma once

#include <string>
#include <string_view>

namespace flatland::detail {

// Error: damaged or incomplete; or this build has no zlib. `name` stands in the message.
std::string gunzip(std::string_view packed, const std::string& name);

}  // namespace flatland::detail

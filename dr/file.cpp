#include <flatland/dr/file.h>
#include <flatland/dr/gzip.h>
#include <flatland/kernels/check.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace flatland {
namespace {

std::string read_bytes(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code ignored;
  FLATLAND_CHECK(!std::filesystem::is_directory(path, ignored), name, ": is a folder, not a file");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(name.c_str(), "rb"), &std::fclose);
  FLATLAND_CHECK(file != nullptr, name, ": cannot open: ", std::strerror(errno));
  std::string bytes;
  if (const auto size = std::filesystem::file_size(path, ignored); !ignored) bytes.reserve(size);
  char piece[1 << 16];
  for (std::size_t n; (n = std::fread(piece, 1, sizeof piece, file.get())) > 0;) bytes.append(piece, n);
  FLATLAND_CHECK(!std::ferror(file.get()), name, ": cannot read: ", std::strerror(errno));
  return bytes;
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  std::string bytes = read_bytes(path);
  if (bytes.starts_with("\x1f\x8b")) return detail::gunzip(bytes, path.string());
  return bytes;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  const std::string name = path.string();
  std::FILE* file = std::fopen(name.c_str(), "wb");
  FLATLAND_CHECK(file != nullptr, name, ": cannot write: ", std::strerror(errno));
  const bool wrote = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const int write_error = errno;
  const bool closed = std::fclose(file) == 0;  // a full disk may show only here
  FLATLAND_CHECK(wrote && closed, name, ": cannot write: ", std::strerror(wrote ? errno : write_error));
}

}  // namespace flatland

// A file that is gone after the test.
#pragma once

#include <flatland/dr/file.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>

namespace flatland::test {

class TempFile {
 public:
  // `ending` is how the name ends, for instance ".csv".
  explicit TempFile(const std::string& ending, std::string_view bytes) : TempFile(ending) {
    write_file(path_, bytes);
  }
  explicit TempFile(const std::string& ending) {
    static const unsigned run = std::random_device{}();  // tests run beside each other
    static std::atomic<int> count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("flatland_" + std::to_string(run) + "_" + std::to_string(count++) + ending);
  }
  ~TempFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace flatland::test

// Writing JSON; what it takes for a report, so that no package is needed for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flatland::detail {

// Indented text; a list of numbers or texts stands on one line. A key is empty inside lists and at the top.
class JsonWriter {
 public:
  void begin_object(std::string_view key = {}) { open(key, '{'); }
  void end_object() { close('}'); }
  void begin_list(std::string_view key) { open(key, '['); }
  void end_list() { close(']'); }
  void integer(std::string_view key, std::uint64_t value);
  void number(std::string_view key, double value);  // NaN and infinity become null
  void text(std::string_view key, std::string_view value);
  void numbers(std::string_view key, const std::vector<double>& values);
  void texts(std::string_view key, const std::vector<std::string>& values);
  std::string take() { return std::move(out_) + "\n"; }

 private:
  void start(std::string_view key);
  void open(std::string_view key, char bracket);
  void close(char bracket);

  std::string out_;
  int depth_ = 0;
  bool first_ = true;  // of its object or list
};

}  // namespace flatland::detail

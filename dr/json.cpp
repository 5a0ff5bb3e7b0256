#include <flatland/dr/json.h>

#include <charconv>
#include <cmath>

namespace flatland::detail {
namespace {

void append_text(std::string& out, std::string_view text) {
  constexpr std::string_view k_hex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += k_hex[static_cast<unsigned char>(c) >> 4];
      out += k_hex[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

// The shortest text that reads back as the same double.
void append_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end);
}

}  // namespace

void JsonWriter::start(std::string_view key) {
  if (!first_) out_ += ',';
  first_ = false;
  if (depth_ > 0) out_ += '\n';
  out_.append(static_cast<std::size_t>(2 * depth_), ' ');
  if (key.empty()) return;
  append_text(out_, key);
  out_ += ": ";
}

void JsonWriter::open(std::string_view key, char bracket) {
  start(key);
  out_ += bracket;
  ++depth_;
  first_ = true;
}

void JsonWriter::close(char bracket) {
  --depth_;
  if (!first_) {
    out_ += '\n';
    out_.append(static_cast<std::size_t>(2 * depth_), ' ');
  }
  out_ += bracket;
  first_ = false;
}

void JsonWriter::integer(std::string_view key, std::uint64_t value) {
  start(key);
  out_ += std::to_string(value);
}

void JsonWriter::number(std::string_view key, double value) {
  start(key);
  append_number(out_, value);
}

void JsonWriter::text(std::string_view key, std::string_view value) {
  start(key);
  append_text(out_, value);
}

void JsonWriter::numbers(std::string_view key, const std::vector<double>& values) {
  start(key);
  for (std::size_t i = 0; i < values.size(); ++i) append_number(out_ += i > 0 ? ", " : "[", values[i]);
  out_ += values.empty() ? "[]" : "]";
}

void JsonWriter::texts(std::string_view key, const std::vector<std::string>& values) {
  start(key);
  for (std::size_t i = 0; i < values.size(); ++i) append_text(out_ += i > 0 ? ", " : "[", values[i]);
  out_ += values.empty() ? "[]" : "]";
}

}  // namespace flatland::detail

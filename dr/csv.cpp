#include <flatland/dr/file.h>
#include <flatland/dr/readers.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

namespace flatland {
namespace {

struct Cell {
  std::string_view text;  // trimmed; for a quoted cell what stands between the quotes
  bool quoted = false;
  bool last = false;            // the row ends behind it
  const char* fault = nullptr;  // what is wrong with its quotes
};

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// Reads the cell at `at` and moves `at` to the start of the next cell or row.
Cell next_cell(std::string_view text, std::size_t& at, char delimiter) {
  Cell cell;
  std::size_t end = at;
  while (end < text.size() && text[end] == ' ' && delimiter != ' ') ++end;
  if (end < text.size() && text[end] == '"') {
    const std::size_t begin = ++end;
    cell.quoted = true;
    while (true) {
      end = std::min(text.find('"', end), text.size());
      if (end + 1 >= text.size() || text[end + 1] != '"') break;
      end += 2;
    }
    if (end == text.size()) cell.fault = "the quote does not end";
    cell.text = text.substr(begin, end - begin);
    end = std::min(end + 1, text.size());
  }
  const std::size_t rest = end;
  while (end < text.size() && text[end] != delimiter && text[end] != '\n') ++end;
  cell.last = end == text.size() || text[end] == '\n';
  std::string_view raw = text.substr(cell.quoted ? rest : at, end - (cell.quoted ? rest : at));
  if (cell.last && raw.ends_with('\r')) raw.remove_suffix(1);
  if (!cell.quoted) cell.text = trimmed(raw);
  if (cell.quoted && !cell.fault && !trimmed(raw).empty()) cell.fault = "text follows the closing quote";
  at = std::min(end + 1, text.size());
  return cell;
}

std::string unescaped(const Cell& cell) {
  std::string result(cell.text);
  if (!cell.quoted) return result;
  for (std::size_t at = 0; (at = result.find("\"\"", at)) != std::string::npos; ++at) result.erase(at, 1);
  return result;
}

// An empty line, which is skipped. (A quoted empty cell is a row of one empty cell.)
bool blank_line(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at);
  return rest.starts_with('\n') || rest.starts_with("\r\n") || rest == "\r";
}

enum class Number { ok, none, too_large };

// Infinity comes back as a value: the caller says what it thinks of it.
Number parse_number(std::string_view text, double& value) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) return Number::none;
  if (error == std::errc()) return Number::ok;
  if (error != std::errc::result_out_of_range) return Number::none;
  // Too small is zero; which of the two it was, from_chars does not say.
  const std::size_t exponent = text.find_first_of("eE");
  const bool small = exponent == std::string_view::npos ? text.find('.') <= 2 : text[exponent + 1] == '-';
  value = 0;
  return small ? Number::ok : Number::too_large;
}

bool is_missing(std::string_view text) {
  return text.empty() || text == "NA" || text == "NaN" || text == "nan" || text == "NAN";
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t k_shown = 40;
  std::string result = "'";
  result += text.substr(0, k_shown);
  result += text.size() > k_shown ? "...'" : "'";
  return result;
}

// What is wrong with a cell as a number of a type that reaches to `limit`; empty when nothing is.
std::string number_fault(const Cell& cell, bool missing_as_nan, double limit, double& value) {
  if (is_missing(cell.text)) {
    value = std::numeric_limits<double>::quiet_NaN();
    if (missing_as_nan) return {};
    if (cell.text.empty()) return "is empty; fill it, or read with missing_as_nan";
    return in_quotes(cell.text) + " is not a number; replace it, or read with missing_as_nan";
  }
  const Number number = parse_number(cell.text, value);
  if (number == Number::none || std::isnan(value)) return in_quotes(cell.text) + " is not a number";
  if (std::isinf(value)) return in_quotes(cell.text) + " is not finite";
  if (number == Number::too_large || std::fabs(value) > limit) {
    return in_quotes(cell.text) + " is too large for " + (limit < 1e100 ? "float32" : "float64");
  }
  return {};
}

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t k_shown = 12;
  std::string result;
  for (std::size_t i = 0; i < std::min(names.size(), k_shown); ++i) {
    if (i > 0) result += ", ";
    result += in_quotes(names[i]);
  }
  if (names.size() > k_shown) result += ", ... (" + std::to_string(names.size()) + " columns)";
  return result;
}

}  // namespace

Table read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  Table table;
  table.file_ = path.string();
  table.text_ = read_file(path);
  table.options_ = options;
  const std::string& file = table.file_;
  const std::string_view text = table.text_;
  const char delimiter = options.delimiter;
  FLATLAND_CHECK(delimiter != '"' && delimiter != '\n' && delimiter != '\r', file,
                 ": the delimiter must be no quote and no line end");
  FLATLAND_CHECK(text.substr(0, 1024).find('\0') == std::string_view::npos, file, ": not a text file");

  std::size_t at = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  std::int64_t line = 1;
  std::size_t counted_to = 0;  // lines before here are in `line`
  std::int64_t width = -1;
  while (at < text.size()) {
    if (blank_line(text, at)) {
      at = std::min(text.find('\n', at), text.size() - 1) + 1;
      continue;
    }
    line += std::count(text.begin() + static_cast<std::ptrdiff_t>(counted_to),
                       text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    counted_to = at;
    const std::size_t begin = at;
    std::int64_t cells = 0;
    bool any_number = false;
    std::vector<std::string> first_row;
    for (bool more = true; more; ++cells) {
      const Cell cell = next_cell(text, at, delimiter);
      FLATLAND_CHECK(!cell.fault, file, ": line ", line, ", column ", cells + 1, ": ", cell.fault);
      more = !cell.last;
      if (width >= 0) continue;
      double ignored;
      any_number |= !cell.quoted && parse_number(cell.text, ignored) != Number::none;
      first_row.push_back(unescaped(cell));
    }
    const bool is_first = width < 0;
    if (is_first) width = cells;
    FLATLAND_CHECK(cells == width, file, ": row ", table.row_begin_.size() + 1, " (line ", line, ") has ",
                   cells, " columns but the first row has ", width);
    using Header = CsvOptions::Header;
    if (is_first &&
        (options.header == Header::present || (options.header == Header::detect && !any_number))) {
      table.names_ = std::move(first_row);
      continue;
    }
    if (table.row_begin_.empty()) table.first_line_ = line;
    table.row_begin_.push_back(begin);
  }
  FLATLAND_CHECK(width >= 0, file, ": the file is empty");
  FLATLAND_CHECK(table.rows() > 0, file, ": no rows below the header");
  for (std::int64_t i = table.cols(); i < width; ++i) table.names_.push_back(std::to_string(i + 1));
  return table;
}

bool Table::contains(std::string_view name) const {
  return std::ranges::find(names_, name) != names_.end();
}

std::int64_t Table::column(std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  FLATLAND_CHECK(found != names_.end(), file_, ": no column '", name, "'; there are ", listed(names_));
  FLATLAND_CHECK(std::find(found + 1, names_.end(), name) == names_.end(), file_,
                 ": more than one column is named '", name, "'");
  return found - names_.begin();
}

Tensor Table::numbers(Dtype dtype) const {
  return numbers_except(std::span<const std::string>(), dtype);
}

Tensor Table::numbers(std::span<const std::string> names, Dtype dtype) const {
  std::vector<std::int64_t> columns;
  for (const std::string& name : names) columns.push_back(column(name));
  return parse(columns, dtype);
}

Tensor Table::numbers_except(std::span<const std::string> names, Dtype dtype) const {
  std::vector<bool> dropped(names_.size());
  for (const std::string& name : names) dropped[static_cast<std::size_t>(column(name))] = true;
  std::vector<std::int64_t> columns;
  for (std::int64_t j = 0; j < cols(); ++j) {
    if (!dropped[static_cast<std::size_t>(j)]) columns.push_back(j);
  }
  return parse(columns, dtype);
}

Tensor Table::parse(std::span<const std::int64_t> columns, Dtype dtype) const {
  FLATLAND_CHECK(dtype == Dtype::float32 || dtype == Dtype::float64, file_,
                 ": numbers are float32 or float64, not ", name(dtype));
  const std::int64_t width = static_cast<std::int64_t>(columns.size());
  Tensor result = Tensor::empty({rows(), width}, dtype);
  // Where each of the table's columns goes; a column may be asked for twice.
  std::vector<std::vector<std::int64_t>> places(names_.size());
  for (std::int64_t j = 0; j < width; ++j) {
    places[static_cast<std::size_t>(columns[static_cast<std::size_t>(j)])].push_back(j);
  }
  float* floats = dtype == Dtype::float32 ? result.mutable_data<float>() : nullptr;
  double* doubles = dtype == Dtype::float64 ? result.mutable_data<double>() : nullptr;
  const double limit = floats ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();

  const auto parse_row = [&](std::int64_t i) {
    std::size_t at = row_begin_[static_cast<std::size_t>(i)];
    for (std::size_t j = 0; j < places.size(); ++j) {
      const Cell cell = next_cell(text_, at, options_.delimiter);
      if (places[j].empty()) continue;
      double value = 0;
      if (const auto fault = number_fault(cell, options_.missing_as_nan, limit, value); !fault.empty()) {
        const auto row_at =
            text_.begin() + static_cast<std::ptrdiff_t>(row_begin_[static_cast<std::size_t>(i)]);
        const auto first = text_.begin() + static_cast<std::ptrdiff_t>(row_begin_[0]);
        detail::fail(file_, ": row ", i + 1, " (line ", first_line_ + std::count(first, row_at, '\n'),
                     "), column '", names_[j], "' (", j + 1, "): ", fault);
      }
      for (const std::int64_t place : places[j]) {
        if (floats) floats[i * width + place] = static_cast<float>(value);
        if (doubles) doubles[i * width + place] = value;
      }
    }
  };
  constexpr std::int64_t k_tile = 256;
  kernels::parallel_for(current_exec(), ceil_div(rows(), k_tile), [&](std::int64_t tile, int) {
    const std::int64_t end = std::min((tile + 1) * k_tile, rows());
    for (std::int64_t i = tile * k_tile; i < end; ++i) parse_row(i);
  });
  return result;
}

std::vector<std::string> Table::texts(std::string_view name) const {
  const std::int64_t col = column(name);
  std::vector<std::string> result;
  result.reserve(row_begin_.size());
  for (const std::size_t begin : row_begin_) {
    std::size_t at = begin;
    for (std::int64_t j = 0; j < col; ++j) next_cell(text_, at, options_.delimiter);
    result.push_back(unescaped(next_cell(text_, at, options_.delimiter)));
  }
  return result;
}

Labels Table::labels(std::string_view name) const {
  const std::vector<std::string> cells = texts(name);
  const auto integer = [](const std::string& text) -> std::optional<std::int64_t> {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  };
  // Sorted by (number, text); the number is 0 for all unless all are integers.
  std::map<std::string, std::int64_t> numbers;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    FLATLAND_CHECK(!cells[i].empty(), file_, ": row ", i + 1, ", column '", name, "' (", column(name) + 1,
                   "): the label is empty");
    numbers.emplace(cells[i], 0);
  }
  const bool all_integers =
      std::ranges::all_of(numbers, [&](const auto& entry) { return integer(entry.first).has_value(); });
  std::vector<std::pair<std::int64_t, std::string>> order;
  for (const auto& [text, unused] : numbers) order.emplace_back(all_integers ? *integer(text) : 0, text);
  std::ranges::sort(order);

  Labels labels;
  for (const auto& [number, text] : order) {
    numbers[text] = static_cast<std::int64_t>(labels.names.size());
    labels.names.push_back(text);
  }
  std::vector<std::int64_t> values;
  for (const std::string& cell : cells) values.push_back(numbers[cell]);
  labels.values = Tensor::from(values);
  return labels;
}

}  // namespace flatland

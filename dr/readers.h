// Data files: tables of text (CSV), NumPy arrays, and the IDX files of MNIST. All may be gzipped.
// Every Error begins with the file's name.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flatland {

// --- CSV ---------------------------------------------------------------------------------------------

struct CsvOptions {
  char delimiter = ',';
  // detect: the first row is a header when none of its cells is a number.
  enum class Header { detect, present, absent } header = Header::detect;
  // Empty cells, NA and NaN become NaN; otherwise they are an Error.
  bool missing_as_nan = false;
};

// One column as classes: values[i] is the position of item i's text in `names`.
struct Labels {
  Tensor values;                   // (N) int64
  std::vector<std::string> names;  // by number when all are integers, else by text
};

// A table of text, parsed when asked. In messages rows and columns count from 1, the header not among them.
class Table {
 public:
  std::int64_t rows() const { return static_cast<std::int64_t>(row_begin_.size()); }
  std::int64_t cols() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }  // without a header "1", "2", ...
  bool contains(std::string_view name) const;

  // Columns as (rows, columns) numbers, by default all.
  // Errors: an unknown name (lists the known ones); the first cell that is empty, no number, infinite or too
  // large for the type.
  Tensor numbers(Dtype dtype = Dtype::float32) const;
  Tensor numbers(std::span<const std::string> names, Dtype dtype = Dtype::float32) const;
  Tensor numbers_except(std::span<const std::string> names, Dtype dtype = Dtype::float32) const;
  Tensor numbers_except(const std::vector<std::string>& names, Dtype dtype = Dtype::float32) const {
    return numbers_except(std::span<const std::string>(names), dtype);
  }
  // Error: an unknown name, an empty cell.
  Labels labels(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;

 private:
  friend Table read_csv(const std::filesystem::path&, const CsvOptions&);
  std::int64_t column(std::string_view name) const;
  Tensor parse(std::span<const std::int64_t> columns, Dtype dtype) const;

  std::string file_;
  std::string text_;
  std::vector<std::string> names_;
  std::vector<std::size_t> row_begin_;  // where each row starts in text_
  std::int64_t first_line_ = 1;         // the line of the first row
  CsvOptions options_;
};

// RFC 4180: quoted cells may hold delimiters, line ends and doubled quotes; lines end with LF or CRLF; blank
// lines and a byte order mark are skipped; spaces around unquoted cells do not count.
// Errors: empty file, no rows below the header, a row of another length, a quote that does not end.
Table read_csv(const std::filesystem::path& path, const CsvOptions& options = {});

// --- NumPy -------------------------------------------------------------------------------------------

// An array saved by numpy.save (format 1, 2 or 3, C order, either byte order).
// float32, float64, int32 and int64 stay as they are; bool and 8- and 16-bit integers become int32, uint32
// becomes int64.
// Errors say what is wrong: another type, Fortran order, more than four dimensions, fewer bytes than the
// shape asks for (checked before anything is allocated) or more.
Tensor read_npy(const std::filesystem::path& path);

// What numpy.load reads. Error: unwritable; a tensor that is undefined or not on the CPU.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

// --- IDX ---------------------------------------------------------------------------------------------

// The file's values: bytes and 16- and 32-bit integers as int32, floats as they are.
// Errors: not an IDX file; more than four dimensions; more or fewer bytes than its sizes ask for.
Tensor read_idx(const std::filesystem::path& path);

// Images of bytes, (N, height, width), as (N, height width) float32 in 0 .. 1; and labels as (N) int64.
// Error: other dimensions or values.
Tensor read_idx_images(const std::filesystem::path& path);
Tensor read_idx_labels(const std::filesystem::path& path);

}  // namespace flatland

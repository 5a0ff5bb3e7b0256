// dr/readers.h: CSV.
#include <flatland/dr/readers.h>

#include <doctest/doctest.h>
#include <cmath>

#include "tests/support/errors.h"
#include "tests/support/temp_file.h"

using namespace flatland;
using flatland::test::contains;
using flatland::test::error_of;
using flatland::test::TempFile;

namespace {

Table table_of(std::string_view text, const CsvOptions& options = {}) {
  return read_csv(TempFile(".csv", text).path(), options);
}

std::string read_error(std::string_view text, const CsvOptions& options = {}) {
  return error_of([&] { table_of(text, options); });
}

std::string number_error(std::string_view cell) {
  std::string text = "x,y\n1,2\n3,";
  text += cell;
  return error_of([&] { table_of(text).numbers(); });
}

const std::vector<std::string> k_species = {"species"};

}  // namespace

TEST_CASE("a table with header, numbers and text labels") {
  const Table table = table_of("w,h,species\n1.5,-2e1,setosa\n+3,.25,virginica\n0,1e-400,setosa\n");
  CHECK(table.rows() == 3);
  CHECK(table.cols() == 3);
  CHECK(table.names() == std::vector<std::string>{"w", "h", "species"});
  CHECK(table.contains("h"));
  CHECK(!table.contains("H"));

  const Tensor x = table.numbers_except(k_species);
  CHECK(x.shape() == Shape{3, 2});
  CHECK(x.dtype() == Dtype::float32);
  CHECK(x.to_vector<float>() == std::vector<float>{1.5F, -20, 3, 0.25F, 0, 0});
  const Tensor h = table.numbers(std::vector<std::string>{"h", "w", "h"}, Dtype::float64);
  CHECK(h.to_vector<double>() == std::vector<double>{-20, 1.5, -20, 0.25, 3, 0.25, 0, 0, 0});

  const Labels labels = table.labels("species");
  CHECK(labels.values.dtype() == Dtype::int64);
  CHECK(labels.values.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 0});
  CHECK(labels.names == std::vector<std::string>{"setosa", "virginica"});
}

TEST_CASE("integer labels are ordered by number") {
  const Labels labels = table_of("label\n10\n9\n-1\n10\n").labels("label");
  CHECK(labels.names == std::vector<std::string>{"-1", "9", "10"});
  CHECK(labels.values.to_vector<std::int64_t>() == std::vector<std::int64_t>{2, 1, 0, 2});
}

TEST_CASE("quotes, line ends, byte order mark, spaces and blank lines") {
  const Table table =
      table_of("\xef\xbb\xbf\"a \"\"quoted\"\" name\",b\r\n\r\n \"x,\n\"\"y\"\"\" , 2 \r\n\"\",3\r\n\r\n");
  CHECK(table.names() == std::vector<std::string>{"a \"quoted\" name", "b"});
  CHECK(table.rows() == 2);
  CHECK(table.texts("a \"quoted\" name") == std::vector<std::string>{"x,\n\"y\"", ""});
  CHECK(table.numbers(std::vector<std::string>{"b"}).to_vector<float>() == std::vector<float>{2, 3});
}

TEST_CASE("the last line needs no end, with LF or CRLF") {
  for (const char* text : {"x,y\n1,2\n3,4", "x,y\n1,2\n3,4\n", "x,y\r\n1,2\r\n3,4", "x,y\r\n1,2\r\n3,4\r"}) {
    CAPTURE(text);
    CHECK(table_of(text).numbers().to_vector<float>() == std::vector<float>{1, 2, 3, 4});
  }
}

TEST_CASE("the header is detected, or told") {
  CHECK(table_of("a,b\n1,2\n").rows() == 1);
  CHECK(table_of("1,b\n1,2\n").rows() == 2);  // a number: no header
  CHECK(table_of("1,2\n3,4\n").names() == std::vector<std::string>{"1", "2"});
  CHECK(table_of("1,2\n3,4\n", {.header = CsvOptions::Header::present}).rows() == 1);
  CHECK(table_of("a,b\nc,d\n", {.header = CsvOptions::Header::absent}).rows() == 2);
}

TEST_CASE("other delimiters") {
  CHECK(table_of("1;2\n3;4\n", {.delimiter = ';'}).numbers().to_vector<float>() ==
        std::vector<float>{1, 2, 3, 4});
  CHECK(table_of("1\t2\n\t4\n", {.delimiter = '\t', .missing_as_nan = true}).cols() == 2);
  CHECK(contains(read_error("a", {.delimiter = '"'}), "the delimiter must be no quote"));
}

TEST_CASE("missing values are NaN on request") {
  const Table table = table_of("x,y\n1,\nNA,4\nnan,NaN\n", {.missing_as_nan = true});
  const std::vector<float> x = table.numbers().to_vector<float>();
  CHECK(x[0] == 1);
  CHECK(x[3] == 4);
  for (const int i : {1, 2, 4, 5}) CHECK(std::isnan(x[static_cast<std::size_t>(i)]));
}

TEST_CASE("errors name file, row, line and column") {
  const std::string error = number_error("abc");
  CHECK(contains(error, ".csv: row 2 (line 3), column 'y' (2): 'abc' is not a number"));
  CHECK(contains(number_error("1.2.3"), "'1.2.3' is not a number"));
  CHECK(contains(number_error("0x10"), "'0x10' is not a number"));
  CHECK(contains(number_error("--1"), "'--1' is not a number"));
  CHECK(contains(number_error("1,5 "), "has 3 columns but the first row has 2"));
  CHECK(contains(number_error(" "), "is empty"));
  CHECK(contains(number_error("NaN"), "'NaN' is not a number"));
  CHECK(contains(number_error("-nan(1)"), "is not a number"));
  CHECK(contains(number_error("inf"), "'inf' is not finite"));
  CHECK(contains(number_error("1e39"), "'1e39' is too large for float32"));
  CHECK(contains(number_error("1e999"), "'1e999' is too large for float32"));
  CHECK(contains(error_of([] { table_of("x\n1e999\n").numbers(Dtype::float64); }), "too large for float64"));
  CHECK(table_of("x\n1e39\n").numbers(Dtype::float64).at(0) == 1e39);
  CHECK(number_error("7").empty());
}

TEST_CASE("the first bad row is named, far down and behind quoted line ends") {
  std::string text = "x,name\n";
  for (int i = 0; i < 1000; ++i) text += i < 700 ? "1,\"two\nlines\"\n" : "bad,z\n";
  const std::string error = error_of([&] { table_of(text).numbers(std::vector<std::string>{"x"}); });
  CHECK(contains(error, "row 701 (line 1402), column 'x' (1): 'bad'"));
}

TEST_CASE("errors of the whole file") {
  CHECK(contains(read_error(""), "the file is empty"));
  CHECK(contains(read_error("\n\r\n"), "the file is empty"));
  CHECK(contains(read_error("a,b\n"), "no rows below the header"));
  CHECK(contains(read_error("a,b\n1,2\n1\n"), "row 2 (line 3) has 1 columns but the first row has 2"));
  CHECK(contains(read_error("a,b\n\n1,2,3\n"), "row 1 (line 3) has 3 columns"));
  CHECK(contains(read_error("a,b\n1,\"2\n3,4\n"), "line 2, column 2: the quote does not end"));
  CHECK(contains(read_error("a,b\n1,\"2\"3\n"), "line 2, column 2: text follows the closing quote"));
  CHECK(contains(read_error(std::string_view("a\0b\n", 4)), "not a text file"));
  CHECK(contains(error_of([] { read_csv("nowhere/none.csv"); }), "nowhere/none.csv: cannot open"));
  CHECK(contains(error_of([] { read_csv(std::filesystem::temp_directory_path()); }), "is a folder"));

  const Table table = table_of("a,b,b\n1,2,\n");
  CHECK(contains(error_of([&] { table.numbers_except(k_species); }),
                 "no column 'species'; there are 'a', 'b', 'b'"));
  CHECK(contains(error_of([&] { table.labels("b"); }), "more than one column is named 'b'"));
  CHECK(contains(error_of([&] { table.numbers(Dtype::int64); }), "float32 or float64, not int64"));
  CHECK(contains(error_of([] { table_of("a,b\n1,\n").labels("b"); }),
                 "row 1, column 'b' (2): the label is empty"));
}

TEST_CASE("numbers are the same for any number of threads") {
  std::string text = "x,y\n";
  for (int i = 0; i < 2000; ++i) text += std::to_string(i) + "," + std::to_string(i * 0.1) + "\n";
  const Table table = table_of(text);
  const std::vector<float> expected = table.numbers().to_vector<float>();
  CHECK(expected[2 * 1999] == 1999);
  for (const int threads : {1, 2, 3, 8}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    CHECK(table.numbers().to_vector<float>() == expected);
  }
}

TEST_CASE("damaged tables never crash") {
  const std::string valid = "a,\"b \"\"c\"\"\",d\r\n1,2.5,x\r\n-3e5,4,\"y\nz\"\n7,8,9\n";
  std::uint32_t state = 1;
  const auto draw = [&](std::size_t n) {
    state = state * 1664525U + 1013904223U;
    return static_cast<std::size_t>(state >> 8) % n;
  };
  int read = 0, refused = 0;
  for (int round = 0; round < 600; ++round) {
    std::string text = valid.substr(0, round % 2 ? draw(valid.size() + 1) : valid.size());
    for (std::size_t i = 0; i < static_cast<std::size_t>(round % 5) && !text.empty(); ++i) {
      text[draw(text.size())] = ",\"\n\r 0e-.x\xff"[draw(11)];
    }
    const std::string error = error_of([&] {
      const Table table = table_of(text, {.missing_as_nan = true});
      for (const std::string& name : table.names()) {
        error_of([&] { table.labels(name); });
        error_of([&] { table.numbers(std::vector<std::string>{name}); });
      }
    });
    ++(error.empty() ? read : refused);
  }
  CHECK(read > 50);
  CHECK(refused > 50);
}

// dr/readers.h: NumPy arrays and IDX; dr/file.h: gzip.
#include <flatland/dr/file.h>
#include <flatland/dr/readers.h>

#include <doctest/doctest.h>
#include <cmath>

#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/temp_file.h"

using namespace flatland;
using flatland::test::contains;
using flatland::test::error_of;
using flatland::test::TempFile;

namespace {

// An NPY file of format 1 (numpy's own padding is not needed to read it).
std::string npy(const std::string& dict, const std::string& values) {
  std::string bytes = "\x93NUMPY";
  bytes += {'\x01', '\x00', static_cast<char>(dict.size() & 0xff), static_cast<char>(dict.size() >> 8)};
  return bytes + dict + values;
}

std::string dict(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  std::string text = "{'descr': '";
  return text.append(descr)
             .append("', 'fortran_order': ")
             .append(fortran)
             .append(", 'shape': ")
             .append(shape) +
         ", }  \n";
}

Tensor npy_tensor(const std::string& bytes) {
  return read_npy(TempFile(".npy", bytes).path());
}

std::string npy_error(const std::string& bytes) {
  return error_of([&] { npy_tensor(bytes); });
}

std::string idx(char code, const std::vector<std::uint32_t>& sizes, const std::string& values) {
  std::string bytes = {'\0', '\0', code, static_cast<char>(sizes.size())};
  for (const std::uint32_t size : sizes) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(size >> shift);
  }
  return bytes + values;
}

Tensor idx_tensor(const std::string& bytes) {
  return read_idx(TempFile(".idx", bytes).path());
}

std::string idx_error(const std::string& bytes) {
  return error_of([&] { idx_tensor(bytes); });
}

using Bytes = std::string;
const Bytes k_gzip_table(  // "a,b\n1,2\n", by Python's gzip
    "\x1f\x8b\x08\0\0\0\0\0\x02\xff\x4b\xd4\x49\xe2\x32\xd4\x31\xe2\x02\0\x7b\x07\x97\x0a\x08\0\0\0", 28);

// Reads 500 damaged copies of a valid file; counts those that are refused.
template <class Read>
int refused_of_500(const std::string& valid, Read read) {
  std::uint32_t state = 7;
  const auto draw = [&](std::size_t n) {
    state = state * 1664525U + 1013904223U;
    return static_cast<std::size_t>(state >> 8) % n;
  };
  int refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::string bytes = valid.substr(0, round % 2 ? draw(valid.size()) : valid.size());
    for (int i = 0; i < round % 4 && !bytes.empty(); ++i) {
      bytes[draw(std::min<std::size_t>(bytes.size(), 80))] = static_cast<char>(draw(256));
    }
    refused += !error_of([&] { read(TempFile(".bin", bytes).path()); }).empty();
  }
  return refused;
}

}  // namespace

TEST_CASE("NPY: an error begins with the file's name, in writing too") {
  CHECK(error_of([] { write_npy("none.npy", Tensor()); }) == "none.npy: the tensor to write is undefined");
}

TEST_CASE("NPY: what write_npy writes, read_npy reads, for every type and rank") {
  const auto round_trip = [](const Tensor& tensor) {
    const TempFile file(".npy");
    write_npy(file.path(), tensor);
    CHECK(read_file(file.path()).find('\n') % 64 == 63);  // values start at a multiple of 64
    const Tensor back = read_npy(file.path());
    CHECK(back.shape() == tensor.shape());
    CHECK(back.dtype() == tensor.dtype());
    CHECK(back.to_vector<double>() == tensor.to_vector<double>());
  };
  round_trip(Tensor::from<float>({1.5F, -2, 3e38F, 0}));
  round_trip(Tensor::from(std::vector<double>{1e300, -1, 0.1, 4, 5, 6}, Shape{3, 2}));
  round_trip(Tensor::from(std::vector<std::int32_t>{1, -2, 2147483647, 4}, Shape{2, 1, 2}));
  round_trip(Tensor::from(std::vector<std::int64_t>{1, -2, 3, 4}, Shape{1, 2, 1, 2}));
  round_trip(Tensor::scalar(2.5));
  round_trip(Tensor::zeros({0, 3}));
}

TEST_CASE("NPY: files of numpy.save") {
  const Tensor x = test::golden("quality/X");
  CHECK(x.shape() == Shape{200, 10});
  CHECK(x.dtype() == Dtype::float64);
  const Tensor labels = test::golden("quality/labels");
  CHECK(labels.shape() == Shape{200});
  CHECK(labels.dtype() == Dtype::int32);
  CHECK(contains(error_of([] { test::golden("quality/none"); }), "none.npy: cannot open"));
}

TEST_CASE("NPY: narrow integers are widened, big-endian values swapped, header variants understood") {
  CHECK(npy_tensor(npy(dict("|u1", "(2,)"), "\x01\xff")).to_vector<int>() == std::vector<int>{1, 255});
  CHECK(npy_tensor(npy(dict("|i1", "(2,)"), "\x01\xff")).to_vector<int>() == std::vector<int>{1, -1});
  CHECK(npy_tensor(npy(dict("|b1", "(1,)"), "\x01")).dtype() == Dtype::int32);
  CHECK(npy_tensor(npy(dict("<i2", "(1,)"), "\xfe\xff")).at(0) == -2);
  CHECK(npy_tensor(npy(dict(">i2", "(1,)"), "\xff\xfe")).at(0) == -2);
  CHECK(npy_tensor(npy(dict("<u2", "(1,)"), "\xfe\xff")).at(0) == 65534);
  const Tensor u4 = npy_tensor(npy(dict("<u4", "(1,)"), "\xff\xff\xff\xff"));
  CHECK(u4.dtype() == Dtype::int64);
  CHECK(u4.at(0) == 4294967295.0);
  CHECK(npy_tensor(npy(dict(">f4", "(1,)"), Bytes("\x3f\xc0\0\0", 4))).at(0) == 1.5);
  CHECK(npy_tensor(npy("{\"shape\": (1L,), 'fortran_order': True, 'descr': '<i2'}", Bytes("\x05\0", 2)))
            .at(0) == 5);
  Bytes version2 = npy(dict("|u1", "()"), "\x07");
  version2[6] = '\x02';
  version2.insert(10, 2, '\0');
  CHECK(npy_tensor(version2).shape() == Shape{});
  CHECK(npy_tensor(version2).item() == 7);
}

TEST_CASE("NPY: errors name the file and the reason") {
  const Bytes valid = npy(dict("<f8", "(2, 2)"), Bytes(32, '\0'));
  CHECK(npy_error(valid).empty());
  CHECK(contains(npy_error(""), ".npy: empty file"));
  CHECK(contains(npy_error("PK\x03\x04"), "not an NPY file"));
  CHECK(contains(npy_error(valid.substr(0, 9)), "truncated in the NPY header (9 bytes)"));
  CHECK(contains(npy_error(valid.substr(0, 40)),
                 "truncated in the NPY header (40 bytes, the header alone has"));
  CHECK(contains(npy_error(valid.substr(0, valid.size() - 1)),
                 "shape (2, 2) of <f8 needs 32 bytes but the file has 31; it is truncated"));
  CHECK(contains(npy_error(valid + "x"), "needs 32 bytes but the file has 33; it holds something else too"));
  CHECK(contains(npy_error(npy(dict("<c8", "(1,)"), "")), "values of type '<c8' are not supported"));
  CHECK(contains(npy_error(npy(dict("", "(1,)"), "")), "values of type ''"));
  CHECK(contains(npy_error(npy(dict("|O", "(1,)"), "")), "values of type '|O'"));
  CHECK(contains(npy_error(npy(dict("<f8", "(1,1)", "True"), Bytes(8, '\0'))), "Fortran order"));
  CHECK(contains(npy_error(npy(dict("<f8", "(1,1,1,1,1)"), Bytes(8, '\0'))), "5 dimensions"));
  CHECK(contains(npy_error(npy(dict("<f8", "(-1,)"), "")), "damaged NPY header (expected a size"));
  CHECK(contains(npy_error(npy(dict("<f8", "(99999999999999999999,)"), "")), "damaged NPY header"));
  CHECK(contains(npy_error(npy(dict("<f8", "(4611686018427387904, 4611686018427387904, 0)"), "")),
                 "an impossible shape"));
  CHECK(contains(npy_error(npy(dict("<f8", "(1099511627776,)"), "")), "needs 8796093022208 bytes"));
  CHECK(contains(npy_error(npy("{'descr': [('a', '<f8')], ", "")), "records with named fields"));
  CHECK(contains(npy_error(npy("{'descr': '<f8'}", "")), "is missing"));
  Bytes version9 = valid;
  version9[6] = '\x09';
  CHECK(contains(npy_error(version9), "NPY format 9"));
  CHECK(contains(error_of([] { write_npy("nowhere/x.npy", Tensor::zeros({1})); }),
                 "nowhere/x.npy: cannot write"));
  CHECK(contains(error_of([] { write_npy("x.npy", Tensor()); }), "undefined"));
}

TEST_CASE("IDX: types and sizes") {
  const Tensor bytes = idx_tensor(idx(0x08, {2, 3}, Bytes("\x00\x01\x02\x03\x04\xff", 6)));
  CHECK(bytes.shape() == Shape{2, 3});
  CHECK(bytes.dtype() == Dtype::int32);
  CHECK(bytes.to_vector<int>() == std::vector<int>{0, 1, 2, 3, 4, 255});
  CHECK(idx_tensor(idx(0x09, {1}, "\xff")).at(0) == -1);
  CHECK(idx_tensor(idx(0x0B, {1}, "\xff\xfe")).at(0) == -2);
  CHECK(idx_tensor(idx(0x0C, {1}, "\xff\xff\xff\xfe")).at(0) == -2);
  CHECK(idx_tensor(idx(0x0D, {1}, Bytes("\x3f\xc0\0\0", 4))).at(0) == 1.5);
  const Tensor wide = idx_tensor(idx(0x0E, {1}, Bytes("\x3f\xf8\0\0\0\0\0\0", 8)));
  CHECK(wide.dtype() == Dtype::float64);
  CHECK(wide.at(0) == 1.5);
}

TEST_CASE("IDX: images and labels") {
  const TempFile images(".idx", idx(0x08, {2, 1, 2}, Bytes("\x00\xff\x33\x66", 4)));
  const Tensor x = read_idx_images(images.path());
  CHECK(x.shape() == Shape{2, 2});
  CHECK(x.to_vector<float>() == std::vector<float>{0, 1, 0.2F, 0.4F});
  const TempFile labels(".idx", idx(0x08, {3}, "\x05\x01\x09"));
  CHECK(read_idx_labels(labels.path()).to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 1, 9});
  CHECK(contains(error_of([&] { read_idx_images(labels.path()); }), "shape (3); images are bytes of shape"));
  CHECK(contains(error_of([&] { read_idx_labels(images.path()); }), "shape (2, 1, 2); labels are bytes"));
}

TEST_CASE("IDX: errors tell expected and found bytes") {
  const Bytes valid = idx(0x08, {2, 3}, "abcdef");
  CHECK(contains(idx_error(""), "the file is empty"));
  CHECK(contains(idx_error("\x01\x02\x03"), "truncated: 3 bytes"));
  CHECK(contains(idx_error("a,b,c\n1,2,3\n"), "not an IDX file"));
  CHECK(contains(idx_error(valid.substr(0, 9)), "the IDX header alone has 12"));
  CHECK(contains(idx_error(valid.substr(0, 15)),
                 "shape (2, 3) needs 6 bytes of values but the file has 3; it is truncated"));
  CHECK(contains(idx_error(valid + "x"), "needs 6 bytes of values but the file has 7"));
  CHECK(contains(idx_error(idx(0x08, {4294967295U, 4294967295U, 4294967295U}, "")), "impossible sizes"));
  CHECK(contains(idx_error(idx(0x08, {65536, 65536, 65536}, "")), "but the file has 0"));
  CHECK(contains(idx_error(idx(0x08, {}, "")), "0 dimensions"));
  CHECK(contains(idx_error(idx(0x08, {1, 1, 1, 1, 1}, "x")), "5 dimensions"));
}

TEST_CASE("gzip: unpacked, or refused with what to do") {
  const TempFile file(".csv.gz", k_gzip_table);
  if (!gzip_available()) {
    CHECK(contains(error_of([&] { read_csv(file.path()); }), "configure with -DFLATLAND_ZLIB=ON"));
    return;
  }
  CHECK(read_file(file.path()) == "a,b\n1,2\n");
  CHECK(read_csv(file.path()).numbers().to_vector<float>() == std::vector<float>{1, 2});
  CHECK(read_file(TempFile(".gz", k_gzip_table + k_gzip_table).path()) == "a,b\n1,2\na,b\n1,2\n");
  for (std::size_t n = 2; n < k_gzip_table.size(); ++n) {
    const TempFile cut(".gz", k_gzip_table.substr(0, n));
    CHECK(contains(error_of([&] { read_file(cut.path()); }), ": the gzip data ends too early"));
  }
  Bytes damaged = k_gzip_table;
  damaged[20] ^= 0x10;  // the checksum
  CHECK(contains(error_of([&] { read_file(TempFile(".gz", damaged).path()); }), "the gzip data is damaged"));
}

TEST_CASE("a full disk is an Error") {
  if (!std::filesystem::exists("/dev/full")) return;
  CHECK(
      contains(error_of([] { write_file("/dev/full", "text"); }), "/dev/full: cannot write: No space left"));
}

TEST_CASE("damaged files never crash") {
  const Bytes array = npy(dict("<f8", "(2, 2)"), Bytes(32, 'x'));
  CHECK(refused_of_500(array, [](const auto& path) { read_npy(path); }) > 300);
  const Bytes images = idx(0x08, {3, 2, 2}, "abcdefghijkl");
  CHECK(refused_of_500(images, [](const auto& path) { read_idx_images(path); }) > 300);
  CHECK(refused_of_500(k_gzip_table, [](const auto& path) { read_file(path); }) > 200);
}

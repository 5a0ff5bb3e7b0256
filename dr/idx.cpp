#include <flatland/dr/file.h>
#include <flatland/dr/readers.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace flatland {
namespace {

std::uint32_t big_endian(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

struct Idx {
  unsigned char code = 0;
  Shape shape;
  std::string bytes;
  std::size_t offset = 0;  // of the values in bytes

  const char* values() const { return bytes.data() + offset; }
};

std::size_t value_size(unsigned char code) {
  switch (code) {
    case 0x08:  // unsigned byte
    case 0x09:  // signed byte
      return 1;
    case 0x0B:  // short
      return 2;
    case 0x0C:  // int
    case 0x0D:  // float
      return 4;
    case 0x0E:  // double
      return 8;
    default:
      return 0;
  }
}

Idx open_idx(const std::filesystem::path& path) {
  const std::string name = path.string();
  Idx idx;
  idx.bytes = read_file(path);
  const std::string& bytes = idx.bytes;
  FLATLAND_CHECK(!bytes.empty(), name, ": the file is empty");
  FLATLAND_CHECK(bytes.size() >= 4, name, ": truncated: ", bytes.size(),
                 " bytes, an IDX header has at least 8");
  idx.code = static_cast<unsigned char>(bytes[2]);
  const std::size_t size = value_size(idx.code);
  FLATLAND_CHECK(bytes[0] == 0 && bytes[1] == 0 && size > 0, name,
                 ": not an IDX file (it starts with two zero bytes and a type of 8, 9, 11, 12, 13 or 14)");
  const std::size_t rank = static_cast<unsigned char>(bytes[3]);
  FLATLAND_CHECK(rank >= 1 && rank <= 4, name, ": ", rank, " dimensions; 1 to 4 are supported");
  idx.offset = 4 + 4 * rank;
  FLATLAND_CHECK(bytes.size() >= idx.offset, name, ": truncated: ", bytes.size(),
                 " bytes, the IDX header alone has ", idx.offset);
  std::vector<std::int64_t> sizes;
  std::int64_t expected = static_cast<std::int64_t>(size);
  for (std::size_t i = 0; i < rank; ++i) {
    sizes.push_back(big_endian(bytes.data() + 4 + 4 * i));
    FLATLAND_CHECK(sizes[i] == 0 || expected <= (std::int64_t{1} << 60) / sizes[i], name,
                   ": impossible sizes in the IDX header; the file is damaged");
    expected *= sizes[i];
  }
  idx.shape = Shape(sizes);
  FLATLAND_CHECK(bytes.size() - idx.offset == static_cast<std::size_t>(expected), name, ": shape ", idx.shape,
                 " needs ", expected, " bytes of values but the file has ", bytes.size() - idx.offset,
                 bytes.size() - idx.offset < static_cast<std::size_t>(expected) ? "; it is truncated" : "");
  return idx;
}

template <class Stored, class T>
Tensor converted(const Idx& idx) {
  Tensor result = Tensor::empty(idx.shape, dtype_of<T>);
  T* out = result.mutable_data<T>();
  for (std::int64_t i = 0; i < idx.shape.numel(); ++i) {
    char value_bytes[sizeof(Stored)];
    std::memcpy(value_bytes, idx.values() + static_cast<std::size_t>(i) * sizeof(Stored), sizeof(Stored));
    if constexpr (std::endian::native == std::endian::little) {
      for (std::size_t low = 0; low < sizeof(Stored) / 2; ++low) {
        std::swap(value_bytes[low], value_bytes[sizeof(Stored) - 1 - low]);
      }
    }
    Stored value;
    std::memcpy(&value, value_bytes, sizeof(Stored));
    out[i] = static_cast<T>(value);
  }
  return result;
}

}  // namespace

Tensor read_idx(const std::filesystem::path& path) {
  const Idx idx = open_idx(path);
  switch (idx.code) {
    case 0x08:
      return converted<std::uint8_t, std::int32_t>(idx);
    case 0x09:
      return converted<std::int8_t, std::int32_t>(idx);
    case 0x0B:
      return converted<std::int16_t, std::int32_t>(idx);
    case 0x0C:
      return converted<std::int32_t, std::int32_t>(idx);
    case 0x0D:
      return converted<float, float>(idx);
    default:
      return converted<double, double>(idx);
  }
}

Tensor read_idx_images(const std::filesystem::path& path) {
  const Idx idx = open_idx(path);
  FLATLAND_CHECK(idx.shape.rank() == 3 && idx.code == 0x08, path.string(), ": shape ", idx.shape,
                 "; images are bytes of shape (number, height, width)");
  Tensor result = Tensor::empty({idx.shape[0], idx.shape[1] * idx.shape[2]});
  std::transform(idx.values(), idx.values() + idx.shape.numel(), result.mutable_data<float>(),
                 [](char value) { return static_cast<float>(static_cast<unsigned char>(value)) / 255.0F; });
  return result;
}

Tensor read_idx_labels(const std::filesystem::path& path) {
  const Idx idx = open_idx(path);
  FLATLAND_CHECK(idx.shape.rank() == 1 && idx.code == 0x08, path.string(), ": shape ", idx.shape,
                 "; labels are bytes of shape (number)");
  Tensor result = Tensor::empty(idx.shape, Dtype::int64);
  std::transform(idx.values(), idx.values() + idx.shape.numel(), result.mutable_data<std::int64_t>(),
                 [](char value) { return static_cast<unsigned char>(value); });
  return result;
}

}  // namespace flatland

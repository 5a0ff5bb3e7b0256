#include <flatland/dr/file.h>
#include <flatland/dr/readers.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <string>
#include <vector>

namespace flatland {
namespace {

constexpr std::string_view k_magic = "\x93NUMPY";

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

// Reads the Python dictionary {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Header parse() {
    Header header;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        FLATLAND_CHECK(peek() != '[', name_, ": holds records with named fields; save one plain array");
        header.descr = quoted();
        has_descr = true;
      } else if (key == "fortran_order") {
        header.fortran_order = boolean();
        has_order = true;
      } else if (key == "shape") {
        header.shape = tuple();
        has_shape = true;
      } else {
        wrong("unknown key '" + key + "'");
      }
      if (!take(',') && peek() != '}') wrong("expected , or }");
    }
    if (!has_descr || !has_order || !has_shape) wrong("descr, fortran_order or shape is missing");
    return header;
  }

 private:
  [[noreturn]] void wrong(const std::string& reason) const {
    detail::fail(name_, ": damaged NPY header (", reason, ", at character ", at_, ")");
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) wrong(std::string("expected ") + c);
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') wrong("expected a text");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) wrong("a text does not end");
    std::string result(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return result;
  }
  bool boolean() {
    peek();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return word == "True";
    }
    wrong("expected True or False");
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> sizes;
    expect('(');
    while (!take(')')) {
      peek();
      std::int64_t value = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
      if (error != std::errc() || value < 0) wrong("expected a size");
      at_ += static_cast<std::size_t>(end - begin);
      sizes.push_back(value);
      take('L');  // Python 2 wrote 3L
      if (!take(',') && peek() != ')') wrong("expected , or )");
    }
    return sizes;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

template <class Stored, class T>
void convert(std::string_view bytes, bool swapped, Tensor& tensor) {
  T* out = tensor.mutable_data<T>();
  if constexpr (std::is_same_v<Stored, T>) {
    if (!swapped) {
      if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
      return;
    }
  }
  for (std::size_t i = 0; i < bytes.size() / sizeof(Stored); ++i) {
    char value_bytes[sizeof(Stored)];
    std::memcpy(value_bytes, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    if (swapped) std::reverse(value_bytes, value_bytes + sizeof(Stored));
    Stored value;
    std::memcpy(&value, value_bytes, sizeof(Stored));
    out[i] = static_cast<T>(value);
  }
}

struct StoredType {
  std::string_view code;  // NumPy's, without the byte order
  std::size_t size;
  Dtype dtype;
  void (*convert)(std::string_view bytes, bool swapped, Tensor& tensor);
};

constexpr StoredType k_types[] = {
    {"f4", 4, Dtype::float32, convert<float, float>},
    {"f8", 8, Dtype::float64, convert<double, double>},
    {"i4", 4, Dtype::int32, convert<std::int32_t, std::int32_t>},
    {"i8", 8, Dtype::int64, convert<std::int64_t, std::int64_t>},
    {"b1", 1, Dtype::int32, convert<std::uint8_t, std::int32_t>},
    {"i1", 1, Dtype::int32, convert<std::int8_t, std::int32_t>},
    {"u1", 1, Dtype::int32, convert<std::uint8_t, std::int32_t>},
    {"i2", 2, Dtype::int32, convert<std::int16_t, std::int32_t>},
    {"u2", 2, Dtype::int32, convert<std::uint16_t, std::int32_t>},
    {"u4", 4, Dtype::int64, convert<std::uint32_t, std::int64_t>},
};

constexpr bool k_little = std::endian::native == std::endian::little;

// The length of everything before the values, and the dictionary within it.
std::string_view header_text(std::string_view bytes, const std::string& name, std::size_t& offset) {
  FLATLAND_CHECK(!bytes.empty(), name, ": empty file; expected an NPY array");
  FLATLAND_CHECK(bytes.starts_with(k_magic), name, ": not an NPY file (it does not start with \\x93NUMPY)");
  FLATLAND_CHECK(bytes.size() >= 10, name, ": truncated in the NPY header (", bytes.size(), " bytes)");
  const int version = static_cast<unsigned char>(bytes[6]);
  FLATLAND_CHECK(version >= 1 && version <= 3, name, ": NPY format ", version, "; 1, 2 and 3 are supported");
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  const std::size_t begin = 8 + length_bytes;
  std::size_t length = 0;
  for (std::size_t i = length_bytes; i-- > 0 && begin <= bytes.size();) {
    length = length << 8 | static_cast<unsigned char>(bytes[8 + i]);
  }
  FLATLAND_CHECK(begin <= bytes.size() && length <= bytes.size() - begin, name,
                 ": truncated in the NPY header (", bytes.size(), " bytes, the header alone has ",
                 begin + length, ")");
  offset = begin + length;
  return bytes.substr(begin, length);
}

}  // namespace

Tensor read_npy(const std::filesystem::path& path) {
  const std::string name = path.string();
  const std::string bytes = read_file(path);
  std::size_t offset = 0;
  const Header header = HeaderParser(header_text(bytes, name, offset), name).parse();

  const char order = header.descr.empty() ? '\0' : header.descr[0];
  const std::string_view code = std::string_view(header.descr).substr(header.descr.empty() ? 0 : 1);
  const auto type = std::ranges::find(k_types, code, &StoredType::code);
  FLATLAND_CHECK(type != std::end(k_types) && std::string_view("<>|=").find(order) != std::string_view::npos,
                 name, ": values of type '", header.descr,
                 "' are not supported; save float32, float64 or integers of up to 64 bits (array.astype)");
  FLATLAND_CHECK(header.shape.size() <= 4, name, ": ", header.shape.size(),
                 " dimensions; at most 4 are supported, reshape before saving");
  FLATLAND_CHECK(!header.fortran_order || header.shape.size() < 2, name,
                 ": in Fortran order; save numpy.ascontiguousarray(array)");

  std::int64_t product = 1;
  for (const std::int64_t size : header.shape) {
    FLATLAND_CHECK(size <= (std::int64_t{1} << 48) / product, name,
                   ": damaged NPY header (an impossible shape)");
    product *= std::max<std::int64_t>(size, 1);
  }
  const Shape shape(header.shape);
  const std::size_t expected = checked_bytes(shape.numel(), type->size);
  const std::string_view values = std::string_view(bytes).substr(offset);
  FLATLAND_CHECK(values.size() == expected, name, ": shape ", shape, " of ", header.descr, " needs ",
                 expected, " bytes but the file has ", values.size(),
                 values.size() < expected ? "; it is truncated" : "; it holds something else too");
  Tensor tensor = Tensor::empty(shape, type->dtype);
  const bool swapped = order == (k_little ? '>' : '<');
  type->convert(values, swapped, tensor);
  return tensor;
}

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  FLATLAND_CHECK(tensor.defined(), path.string(), ": the tensor to write is undefined");
  FLATLAND_CHECK(tensor.device() == Device::cpu, path.string(), ": the tensor to write is on ",
                 name(tensor.device()), "; write tensor.to(Device::cpu)");
  std::string dict = "{'descr': '";
  dict += k_little ? '<' : '>';
  std::string_view values;
  const auto take = [&]<class T>(std::string_view code, const T* data) {
    dict += code;
    values = {reinterpret_cast<const char*>(data), static_cast<std::size_t>(tensor.numel()) * sizeof(T)};
  };
  switch (tensor.dtype()) {
    case Dtype::float32:
      take("f4", tensor.data<float>());
      break;
    case Dtype::float64:
      take("f8", tensor.data<double>());
      break;
    case Dtype::int32:
      take("i4", tensor.data<std::int32_t>());
      break;
    case Dtype::int64:
      take("i8", tensor.data<std::int64_t>());
      break;
  }
  dict += "', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < tensor.rank(); ++i) dict += (i ? ", " : "") + std::to_string(tensor.size(i));
  dict += tensor.rank() == 1 ? ",), }" : "), }";
  const std::size_t prefix = k_magic.size() + 4;
  dict.append(63 - (prefix + dict.size()) % 64, ' ');  // values start at a multiple of 64
  dict += '\n';

  std::string bytes(k_magic);
  bytes += {'\x01', '\x00', static_cast<char>(dict.size() & 0xff), static_cast<char>(dict.size() >> 8)};
  bytes += dict;
  bytes += values;
  write_file(path, bytes);
}

}  // namespace flatland

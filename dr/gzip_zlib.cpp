// With zlib.
#include <flatland/dr/file.h>
#include <flatland/dr/gzip.h>
#include <flatland/kernels/check.h>

#include <zlib.h>
#include <algorithm>

namespace flatland {
namespace {

class Inflater {
 public:
  explicit Inflater(const std::string& name) {
    constexpr int k_gzip = 16 + MAX_WBITS;
    FLATLAND_CHECK(inflateInit2(&stream, k_gzip) == Z_OK, name, ": not enough memory to unpack");
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream stream{};
};

constexpr std::size_t k_piece = std::size_t{1} << 18;

}  // namespace

bool gzip_available() {
  return true;
}

std::string detail::gunzip(std::string_view packed, const std::string& name) {
  Inflater inflater(name);
  z_stream& stream = inflater.stream;
  std::string out;
  std::size_t used = 0, made = 0;
  while (true) {
    const std::size_t piece = std::min(packed.size() - used, k_piece);
    out.resize(made + k_piece);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + used));
    stream.avail_in = static_cast<uInt>(piece);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + made);
    stream.avail_out = static_cast<uInt>(k_piece);
    const int status = inflate(&stream, Z_NO_FLUSH);
    used += piece - stream.avail_in;
    made += k_piece - stream.avail_out;
    if (status == Z_STREAM_END) {
      // Several gzip members in a row are one file; anything else after the end is ignored, as gzip does.
      const std::string_view rest = packed.substr(used);
      if (rest.size() < 2 || rest[0] != '\x1f' || rest[1] != '\x8b') break;
      FLATLAND_CHECK(inflateReset(&stream) == Z_OK, name, ": cannot unpack the next part");
      continue;
    }
    const bool starved =
        status == Z_BUF_ERROR || (status == Z_OK && used == packed.size() && stream.avail_out > 0);
    FLATLAND_CHECK(!starved, name, ": the gzip data ends too early (", packed.size(),
                   " bytes); the file is incomplete");
    FLATLAND_CHECK(status == Z_OK, name, ": the gzip data is damaged near byte ", used, " (",
                   stream.msg ? stream.msg : "zlib error", ")");
  }
  out.resize(made);
  return out;
}

}  // namespace flatland

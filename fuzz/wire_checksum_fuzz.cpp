// The checksum over any split of any message agrees with the definition.
#include "fuzz.hpp"
#include "wire/checksum.hpp"

using namespace tidewire;
using namespace tidewire::wire;

namespace {

// RFC 1071 §1, word by word.
std::uint16_t defined_sum(Bytes bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto octet = std::to_integer<std::uint32_t>(bytes[i]);
    sum += i % 2 == 0 ? octet << 8 : octet;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(sum);
}

}  // namespace

// The first byte says where the message is cut, the rest is the message.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes message = as_bytes(data + 1, size - 1);
  const std::size_t cut = std::min<std::size_t>(data[0], message.size());
  std::vector<std::byte> copy(message.size());
  Checksum added;
  Checksum copied;
  added.add(message.first(cut));
  added.add(message.subspan(cut));
  copied.add_and_copy(copy, message.first(cut));
  copied.add_and_copy(MutBytes{copy}.subspan(cut), message.subspan(cut));
  const std::uint16_t expected = defined_sum(message);
  fuzz::check(added.fold() == expected && copied.fold() == expected);
  fuzz::check(std::ranges::equal(copy, message));
  return 0;
}

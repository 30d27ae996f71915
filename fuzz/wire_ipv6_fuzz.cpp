// IPv6: round trip of the fixed header; the chain of extension headers ends inside the packet.
#include "fuzz.hpp"
#include "wire/ipv6.hpp"

using namespace tidewire;
using namespace tidewire::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto view = Ipv6View::parse(as_bytes(data, size), SIZE_MAX);
  if (!view) return 0;
  if (const auto upper = find_upper_layer(*view)) {
    fuzz::check(upper->offset >= kIpv6HeaderLen && upper->offset <= view->packet().size());
    fuzz::check(upper->protocol_offset < upper->offset);
    fuzz::check(upper->fragment_offset % 8 == 0);
    fuzz::check(load_u8(view->packet().data() + upper->protocol_offset) == upper->protocol);
  } else {
    fuzz::check(upper.error().pointer < view->packet().size());
  }
  const Ipv6Repr repr = to_repr(*view);
  const auto bytes = fuzz::emitted(repr, header_len(repr));
  const auto again = Ipv6View::parse(bytes, SIZE_MAX);
  fuzz::check(again && to_repr(*again) == repr);
  return 0;
}

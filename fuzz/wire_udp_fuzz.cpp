// UDP: round trip, and a checksum that does not depend on how the datagram is split.
#include <array>

#include "fuzz.hpp"
#include "wire/udp.hpp"

using namespace tidewire;
using namespace tidewire::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = as_bytes(data, size);
  const auto view = UdpView::parse(input);
  if (!view) return 0;
  const IpAddress a = IpAddress::v4(1, 2, 3, 4);
  const IpAddress b = IpAddress::loopback(Family::v4);
  const UdpRepr repr = to_repr(*view);
  fuzz::check(view->payload().size() == repr.payload_len);
  const std::size_t cut = view->payload().size() / 3;
  const std::array<Bytes, 2> regions{view->payload().first(cut), view->payload().subspan(cut)};
  const auto header = fuzz::emitted(repr, header_len(repr), a, b, std::span<const Bytes>{regions});
  const auto again = UdpView::parse(header, size);
  fuzz::check(again && to_repr(*again) == repr && again->has_checksum());
  fuzz::check(again->verify(a, b, regions).has_value());
  if (view->has_checksum() && view->verify(a, b)) {
    fuzz::check(view->checksum() == again->checksum());
  }
  return 0;
}

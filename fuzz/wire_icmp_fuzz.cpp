// ICMP, ICMPv6 and the packets quoted in errors.
#include "fuzz.hpp"
#include "wire/icmpv6.hpp"
#include "wire/quoted.hpp"

using namespace tidewire;
using namespace tidewire::wire;

namespace {

void check_inside(const Result<QuotedPacket, ParseError>& quoted, Bytes whole) {
  if (!quoted) return;
  fuzz::check(quoted->transport.data() >= whole.data());
  fuzz::check(quoted->transport.data() + quoted->transport.size() <= whole.data() + whole.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = as_bytes(data, size);
  const IpAddress a = IpAddress::loopback(Family::v6);
  if (const auto view = Icmpv4View::parse(input)) {
    const Icmpv4Repr repr = to_repr(*view);
    const auto bytes = fuzz::emitted(repr, size);
    const auto again = Icmpv4View::parse(bytes);
    fuzz::check(again && again->checksum_ok() && to_repr(*again) == repr);
    check_inside(parse_quoted_v4(view->payload()), input);
  }
  if (const auto view = Icmpv6View::parse(input)) {
    const Icmpv6Repr repr = to_repr(*view);
    const auto bytes = fuzz::emitted(repr, size, a, a);
    const auto again = Icmpv6View::parse(bytes);
    fuzz::check(again && again->checksum_ok(a, a) && to_repr(*again) == repr);
    check_inside(parse_quoted_v6(view->payload()), input);
  }
  return 0;
}

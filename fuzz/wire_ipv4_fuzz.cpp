// IPv4: whatever parses can be emitted and parses to the same again; options end.
#include "fuzz.hpp"
#include "wire/ipv4.hpp"

using namespace tidewire;
using namespace tidewire::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = as_bytes(data, size);
  (void)scan_ipv4_options(input);
  const auto view = Ipv4View::parse(input);
  const auto front = Ipv4View::parse(input, SIZE_MAX);
  fuzz::check(!view || front);
  if (!front) return 0;
  fuzz::check(front->payload().size() <= front->payload_len());
  fuzz::check(!view || view->payload().size() == view->payload_len());
  (void)scan_ipv4_options(front->options());
  (void)front->checksum_ok();
  const Ipv4Repr repr = to_repr(*front);
  const auto bytes = fuzz::emitted(repr, header_len(repr));
  const auto again = Ipv4View::parse(bytes, SIZE_MAX);
  fuzz::check(again && again->checksum_ok() && to_repr(*again) == repr);
  return 0;
}

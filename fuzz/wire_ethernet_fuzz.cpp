// Ethernet and ARP: parse after emit is the identity.
#include "fuzz.hpp"
#include "wire/arp.hpp"

using namespace tidewire;
using namespace tidewire::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = as_bytes(data, size);
  if (const auto ethernet = EthernetView::parse(input)) {
    const EthernetRepr repr = to_repr(*ethernet);
    const auto bytes = fuzz::emitted(repr, header_len(repr));
    fuzz::check(std::ranges::equal(bytes, input.first(kEthernetHeaderLen)));
    fuzz::check(ethernet->payload().size() + kEthernetHeaderLen == size);
  }
  if (const auto arp = ArpView::parse(input)) {
    const ArpRepr repr = to_repr(*arp);
    const auto bytes = fuzz::emitted(repr, header_len(repr));
    fuzz::check(std::ranges::equal(bytes, input.first(kArpLen)));
  }
  return 0;
}

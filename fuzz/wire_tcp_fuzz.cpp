// TCP header and options: whatever parses can be emitted and parses to the same again.
#include <array>

#include "fuzz.hpp"
#include "wire/tcp.hpp"

using namespace tidewire;
using namespace tidewire::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto view = TcpView::parse(as_bytes(data, size));
  if (!view) return 0;
  fuzz::check(view->header().size() + view->payload().size() == size);
  const IpAddress a = IpAddress::loopback(Family::v6);
  TcpRepr repr = to_repr(*view);
  // Unaligned options can hold more SACK blocks than our aligned layout has room for.
  const SackBlocks all = repr.options.sack;
  const std::size_t fit = sack_blocks_that_fit(repr.options);
  repr.options.sack.clear();
  for (std::size_t i = 0; i < fit; ++i) repr.options.sack.push_back(all[i]);
  TcpOptions fixed = repr.options;
  fixed.user_timeout.reset();
  if (detail::fixed_options_len(fixed) == kTcpMaxOptionsLen) repr.options.user_timeout.reset();
  // So may Accurate ECN, or the last of its counters.
  if (repr.options.acc_ecn) {
    const auto fields = acc_ecn_fields_that_fit(repr.options);
    if (fields) repr.options.acc_ecn->count = *fields;
    if (!fields) repr.options.acc_ecn.reset();
  }
  const std::array<Bytes, 1> regions{view->payload()};
  const auto header = fuzz::emitted(repr, header_len(repr), a, a, std::span<const Bytes>{regions});
  const auto again = TcpView::parse(header);
  fuzz::check(again && to_repr(*again) == repr);
  fuzz::check(again->checksum_ok(a, a, regions));
  return 0;
}

// TCP options on their own: the walk ends, agrees with the fast path, and survives a round trip.
#include "fuzz.hpp"
#include "wire/tcp_options.hpp"

using namespace tidewire;
using namespace tidewire::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = as_bytes(data, std::min(size, kTcpMaxOptionsLen));
  TcpOptions options;
  TcpOptions walked;
  const bool ok = parse_tcp_options(input, options);
  fuzz::check(detail::parse_tcp_options_slow(input, walked) == ok && walked == options);
  const std::size_t length = options_len(options);
  fuzz::check(length <= kTcpMaxOptionsLen && length % 4 == 0);
  const auto bytes = fuzz::emitted(options, length);
  TcpOptions again;
  fuzz::check(parse_tcp_options(bytes, again));
  fuzz::check(again.sack.size() == sack_blocks_that_fit(options));
  again.sack = options.sack;
  // So may Accurate ECN, or the last of its counters.
  if (options.acc_ecn) {
    const auto fields = acc_ecn_fields_that_fit(options);
    fuzz::check(again.acc_ecn.has_value() == fields.has_value());
    if (fields) options.acc_ecn->count = *fields;
    if (!fields) options.acc_ecn.reset();
  }
  if (!again.user_timeout) options.user_timeout.reset();  // it may have found no room
  fuzz::check(again == options);
  return 0;
}

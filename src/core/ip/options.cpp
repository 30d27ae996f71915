#include "core/ip/options.hpp"

#include <algorithm>

namespace tidewire::ip {
namespace {

constexpr std::uint8_t kEnd = 0;
constexpr std::uint8_t kNop = 1;
constexpr std::uint8_t kRecordRoute = 7;
constexpr std::uint8_t kTimestamp = 68;
constexpr std::uint8_t kLoose = 131;
constexpr std::uint8_t kStrict = 137;

std::uint8_t octet(Bytes bytes, std::size_t at) noexcept {
  return std::to_integer<std::uint8_t>(bytes[at]);
}

/// Calls f(option) for every option but padding.
template <typename Span, typename F>
void for_each_option(Span options, F&& f) noexcept {
  while (!options.empty()) {
    const std::uint8_t kind = octet(options, 0);
    if (kind == kEnd) return;
    if (kind == kNop) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2) return;
    const std::size_t length = octet(options, 1);
    if (length < 2 || length > options.size()) return;
    f(options.first(length));
    options = options.subspan(length);
  }
}

bool is_route(Bytes option) noexcept {
  return (octet(option, 0) == kLoose || octet(option, 0) == kStrict) && option.size() >= 3;
}

Bytes find_route(Bytes options) noexcept {
  Bytes found;
  for_each_option(options, [&](Bytes option) {
    if (found.empty() && is_route(option)) found = option;
  });
  return found;
}

void pad(Writer& writer) noexcept {
  while (writer.written() % 4 != 0) writer.u8(kEnd);
}

/// RFC 791: milliseconds since midnight UT, or any clock if the high bit is set.
std::uint32_t timestamp(Instant now) noexcept {
  return static_cast<std::uint32_t>(now.nanos() / 1'000'000) | 0x8000'0000U;
}

//= RFC 791 §3.1
bool record_timestamp(MutBytes option, const IpAddress& own, Instant now) noexcept {
  if (option.size() < 4) return true;
  const std::uint8_t pointer = octet(option, 2);
  const std::uint8_t flags = octet(option, 3) & 0x0f;
  const std::size_t at = pointer - std::size_t{1};
  const std::size_t entry = flags == 0 ? 4 : 8;
  if (flags != 0 && flags != 1 && flags != 3) return true;
  if (at + entry > option.size()) {
    // Full: the overflow counter counts those who could not.
    const auto overflow = static_cast<std::uint8_t>((octet(option, 3) >> 4) + 1);
    if (overflow > 15) return false;
    option[3] = static_cast<std::byte>(overflow << 4 | flags);
    return true;
  }
  std::byte* to = option.data() + at;
  if (flags == 3 && wire::load_ipv4(to) != own) return true;
  if (flags != 0) {
    wire::store_ipv4(to, own);
    to += 4;
  }
  wire::store_u32(to, timestamp(now));
  option[2] = static_cast<std::byte>(pointer + entry);
  return true;
}

/// The recorded hops backwards, the nearest taken out as the first hop, the origin at the end.
void reverse_route(Bytes route, const IpAddress& origin, const IpAddress& own, Writer& writer,
                   std::optional<IpAddress>& first_hop) noexcept {
  std::array<IpAddress, 9> hops;
  std::size_t count = 0;
  for (std::size_t at = 3; at + 4 <= route.size() && count < hops.size(); at += 4) {
    const IpAddress hop = wire::load_ipv4(route.data() + at);
    if (hop != own) hops[count++] = hop;  // the last entry is this host, recorded on arrival
  }
  if (count == 0) return;
  first_hop = hops[count - 1];
  writer.u8(octet(route, 0));
  writer.u8(static_cast<std::uint8_t>(3 + 4 * count));
  writer.u8(4);
  for (std::size_t i = count - 1; i-- > 0;) writer.bytes(hops[i].bytes());
  writer.bytes(origin.bytes());
}

}  // namespace

bool source_route_pending(Bytes options) noexcept {
  const Bytes route = find_route(options);
  return !route.empty() && octet(route, 2) + std::size_t{3} <= route.size();
}

//= RFC 1122 §3.2.1.8
std::optional<OutgoingOptions> prepare_options(Bytes options,
                                               const IpAddress& destination) noexcept {
  if (options.size() > wire::kIpv4MaxOptionsLen || !wire::scan_ipv4_options(options)) {
    return std::nullopt;
  }
  OutgoingOptions out;
  Writer writer{out.options.bytes};
  bool ok = true;
  for_each_option(options, [&](Bytes option) {
    if (!is_route(option)) return writer.bytes(option);
    // Whole addresses, and none visited yet.
    if (option.size() < 7 || option.size() % 4 != 3 || octet(option, 2) != 4) {
      ok = false;
      return;
    }
    out.first_hop = wire::load_ipv4(option.data() + 3);
    writer.bytes(option.first(3));
    writer.bytes(option.subspan(7));
    writer.bytes(destination.bytes());
  });
  if (!ok) return std::nullopt;
  pad(writer);
  out.options.size = static_cast<std::uint8_t>(writer.written());
  return out;
}

//= RFC 1122 §3.2.2.6
OutgoingOptions reply_options(Bytes header, const IpAddress& own, Instant now) noexcept {
  OutgoingOptions out;
  if (header.size() <= wire::kIpv4MinHeaderLen) return out;
  const IpAddress origin = wire::load_ipv4(header.data() + 12);
  Writer writer{out.options.bytes};
  for_each_option(header.subspan(wire::kIpv4MinHeaderLen), [&](Bytes option) {
    const std::uint8_t kind = octet(option, 0);
    if (is_route(option) && !out.first_hop) {
      reverse_route(option, origin, own, writer, out.first_hop);
    } else if (kind == kRecordRoute || kind == kTimestamp) {
      writer.bytes(option);
    }
  });
  pad(writer);
  if (!writer.ok()) return {};
  out.options.size = static_cast<std::uint8_t>(writer.written());
  (void)record_hop(MutBytes{out.options.bytes}.first(out.options.size), own, now);
  return out;
}

bool record_hop(MutBytes options, const IpAddress& own, Instant now) noexcept {
  bool ok = true;
  for_each_option(options, [&](MutBytes option) {
    if (octet(option, 0) == kTimestamp) ok = record_timestamp(option, own, now) && ok;
    if (octet(option, 0) != kRecordRoute || option.size() < 3) return;
    const std::uint8_t pointer = octet(option, 2);
    if (pointer + std::size_t{3} > option.size()) return;  // full
    wire::store_ipv4(option.data() + pointer - 1, own);
    option[2] = static_cast<std::byte>(pointer + 4);
  });
  return ok;
}

}  // namespace tidewire::ip

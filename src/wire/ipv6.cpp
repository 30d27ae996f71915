#include "wire/ipv6.hpp"

namespace tidewire::wire {
namespace {

constexpr int kMaxHeaders = 8;
constexpr std::uint8_t kPad1 = 0;
constexpr std::uint8_t kPadN = 1;
constexpr std::uint8_t kRouterAlert = 5;

constexpr Ipv6Problem malformed(std::size_t pointer) noexcept {
  return {.error = ParseError::bad_extension_header,
          .report = true,
          .report_to_multicast = false,
          .code = 0,
          .pointer = static_cast<std::uint16_t>(pointer)};
}

//= RFC 8200 §4.2
/// The two highest bits of an unknown option's type say what to do with the packet.
Result<void, Ipv6Problem> unknown_option(std::uint8_t type, std::size_t offset) noexcept {
  const int action = type >> 6;
  if (action == 0) return {};
  Ipv6Problem problem = malformed(offset);
  problem.error = ParseError::bad_option_length;
  problem.report = action >= 2;
  problem.report_to_multicast = action == 2;
  problem.code = 2;
  return fail(problem);
}

Result<void, Ipv6Problem> walk_options(Bytes options, std::size_t offset,
                                       Ipv6Upper& upper) noexcept {
  while (!options.empty()) {
    const std::uint8_t type = load_u8(options.data());
    if (type == kPad1) {
      options = options.subspan(1);
      ++offset;
      continue;
    }
    if (options.size() < 2) return fail(malformed(offset));
    const std::size_t length = 2U + load_u8(options.data() + 1);
    if (length > options.size()) return fail(malformed(offset + 1));
    if (type == kRouterAlert) {
      if (length != 4) return fail(malformed(offset + 1));
      upper.router_alert = true;
    } else if (type != kPadN) {
      if (const auto known = unknown_option(type, offset); !known) return known;
    }
    options = options.subspan(length);
    offset += length;
  }
  return {};
}

constexpr bool is_extension(std::uint8_t protocol) noexcept {
  return protocol == protocol::hop_by_hop || protocol == protocol::ipv6_route ||
         protocol == protocol::ipv6_fragment || protocol == protocol::ipv6_destination;
}

/// Length of the extension header at `offset`; 0 if it runs past the end of the packet.
std::size_t extension_len(Bytes packet, std::size_t offset, std::uint8_t kind) noexcept {
  if (packet.size() < offset + 8) return 0;
  const std::size_t length =
      kind == protocol::ipv6_fragment ? 8U : 8U + 8U * load_u8(packet.data() + offset + 1);
  return packet.size() < offset + length ? 0 : length;
}

void take_fragment(const std::byte* at, Ipv6Upper& upper) noexcept {
  const std::uint16_t field = load_u16(at + 2);
  upper.is_fragment = true;
  upper.fragment_offset = field & 0xfff8U;
  upper.more_fragments = (field & 1) != 0;
  upper.fragment_id = load_u32(at + 4);
}

Result<void, Ipv6Problem> take_extension(Bytes header, std::uint8_t kind,
                                         Ipv6Upper& upper) noexcept {
  switch (kind) {
    case protocol::hop_by_hop:
      //= RFC 8200 §4.1
      if (upper.offset != kIpv6HeaderLen) {
        Ipv6Problem problem = malformed(upper.protocol_offset);
        problem.code = 1;
        return fail(problem);
      }
      return walk_options(header.subspan(2), upper.offset + 2U, upper);
    case protocol::ipv6_destination:
      return walk_options(header.subspan(2), upper.offset + 2U, upper);
    case protocol::ipv6_route:
      //= RFC 8200 §4.4
      //= RFC 5095 §3
      if (load_u8(header.data() + 3) != 0) return fail(malformed(upper.offset + 2U));
      return {};
    default:
      // A second fragment header would be a fragment of a fragment (RFC 8200 §4.5 forbids it).
      if (upper.is_fragment) return fail(malformed(upper.protocol_offset));
      take_fragment(header.data(), upper);
      return {};
  }
}

}  // namespace

Result<Ipv6Upper, Ipv6Problem> find_upper_layer(const Ipv6View& view) noexcept {
  const Bytes packet = view.packet();
  Ipv6Upper upper;
  upper.protocol = view.next_header();
  for (int seen = 0; is_extension(upper.protocol); ++seen) {
    // The excess is discarded silently (RFC 8504 §5.3 allows limits).
    if (seen == kMaxHeaders) return fail(Ipv6Problem{});
    const std::size_t length = extension_len(packet, upper.offset, upper.protocol);
    if (length == 0) return fail(Ipv6Problem{.error = ParseError::truncated});
    const Bytes header = packet.subspan(upper.offset, length);
    if (const auto taken = take_extension(header, upper.protocol, upper); !taken) {
      return fail(taken.error());
    }
    upper.protocol_offset = upper.offset;
    upper.protocol = load_u8(header.data());
    upper.offset = static_cast<std::uint16_t>(upper.offset + length);
    if (upper.fragment_offset != 0) break;
  }
  return upper;
}

}  // namespace tidewire::wire

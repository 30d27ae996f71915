#include "wire/quoted.hpp"

namespace tidewire::wire {
namespace {

// A quotation may be shorter than the packet's own length says.
constexpr std::size_t kAnyLength = SIZE_MAX;
constexpr std::size_t kQuotedTransportLen = 8;

Result<QuotedPacket, ParseError> take_transport(QuotedPacket packet) noexcept {
  if (packet.fragment_offset != 0) return packet;
  const bool known = packet.protocol == protocol::tcp || packet.protocol == protocol::udp ||
                     packet.protocol == protocol::icmp || packet.protocol == protocol::icmpv6;
  if (!known) return packet;
  if (packet.transport.size() < kQuotedTransportLen) return fail(ParseError::truncated);
  const std::byte* at = packet.transport.data();
  if (packet.protocol == protocol::icmp || packet.protocol == protocol::icmpv6) {
    packet.icmp_id = load_u16(at + 4);
    return packet;
  }
  packet.source_port = load_u16(at);
  packet.destination_port = load_u16(at + 2);
  if (packet.protocol == protocol::tcp) packet.seq = Seq{load_u32(at + 4)};
  return packet;
}

}  // namespace

Result<QuotedPacket, ParseError> parse_quoted_v4(Bytes quoted) noexcept {
  const auto view = Ipv4View::parse(quoted, kAnyLength);
  if (!view) return fail(view.error());
  QuotedPacket packet;
  packet.source = view->source();
  packet.destination = view->destination();
  packet.protocol = view->protocol();
  packet.fragment_offset = view->fragment_offset();
  packet.total_len = view->total_len();
  packet.transport = view->payload();
  return take_transport(packet);
}

Result<QuotedPacket, ParseError> parse_quoted_v6(Bytes quoted) noexcept {
  const auto view = Ipv6View::parse(quoted, kAnyLength);
  if (!view) return fail(view.error());
  const auto upper = find_upper_layer(*view);
  if (!upper) return fail(upper.error().error);
  QuotedPacket packet;
  packet.source = view->source();
  packet.destination = view->destination();
  packet.protocol = upper->protocol;
  packet.fragment_offset = upper->fragment_offset;
  packet.total_len = static_cast<std::uint16_t>(
      std::min<std::size_t>(0xffff, kIpv6HeaderLen + view->payload_len()));
  packet.transport = quoted.first(view->packet().size()).subspan(upper->offset);
  return take_transport(packet);
}

}  // namespace tidewire::wire

// The peer side of the operation fuzzer: it watches what a stack sends, checks it, and makes
// segments that continue, contradict or abuse the conversation.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "device/wrap/materialise.hpp"
#include "fuzz.hpp"
#include "input.hpp"
#include "wire/icmpv4.hpp"
#include "wire/ipv4.hpp"
#include "wire/pretty.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace tidewire::fuzz {

inline constexpr IpAddress kUs = IpAddress::v4(10, 0, 0, 1);

/// One TCP conversation as the wire shows it. `us` is the stack under test.
struct Conversation {
  IpAddress peer;
  std::uint16_t our_port = 0, peer_port = 0;
  std::uint32_t next_from_peer = 0;  ///< seq that continues the stream: the stack's last ACK
  std::uint32_t next_from_us = 0;    ///< highest seq the stack has sent, plus one
  std::uint8_t scale = 0;            ///< of the windows that the stack announces
  std::uint32_t timestamp = 0;       ///< the stack's last TSval
  bool timestamps = false;
  std::optional<std::uint8_t> phase;        ///< byte minus seq of the data it sends
  std::optional<std::uint32_t> right_edge;  ///< greatest seq its windows have promised
  bool between = true;  ///< until a SYN has left: segments of an old one too, in any order
};

/// Takes the frames of a stack on an IP-medium interface and judges them.
class Peer final : public TxSink {
 public:
  bool full = false;
  bool odd_options = false;  ///< arbitrary option bytes arrived: scaling is not known
  std::uint64_t taken = 0;
  std::vector<Conversation> conversations;
  std::vector<std::byte> last_packet;

  PushResult push(const TxFrame& frame) noexcept override {
    if (full) return PushResult::full;
    const std::uint32_t packets = device::wire_packets(frame);
    check(packets == frame.segs);
    for (std::uint32_t i = 0; i < packets; ++i) {
      last_packet.resize(device::wire_packet_size(frame, i));
      check(device::materialise(frame, i, last_packet) == last_packet.size());
      judge(last_packet);
    }
    ++taken;
    return PushResult::taken;
  }

  /// `packet` goes to the stack. After a RST, or a SYN once the old connection is gone, what the
  /// stack says may be of another connection, until that one's SYN has left.
  void arrives(Bytes packet) {
    const auto ip = wire::Ipv4View::parse(packet);
    if (!ip || ip->protocol() != wire::protocol::tcp) return;
    const auto tcp = wire::TcpView::parse(ip->payload());
    if (!tcp || !(tcp->has(wire::TcpFlag::rst) || tcp->has(wire::TcpFlag::syn))) return;
    for (Conversation& c : conversations) {
      if (c.our_port != tcp->destination_port() || c.peer_port != tcp->source_port()) continue;
      c.between = true;
      c.right_edge.reset();
      c.phase.reset();
    }
  }

  Conversation* choose(Input& input) {
    if (conversations.empty()) return nullptr;
    return &conversations[input.u8() % conversations.size()];
  }

 private:
  void judge(Bytes packet) {
    if (tracing()) std::fprintf(stderr, "out %s\n", wire::pretty(Medium::ip, packet).c_str());
    const auto ip = wire::Ipv4View::parse(packet);
    if (!ip) {
      check(!packet.empty() && wire::load_u8(packet.data()) >> 4 == 6);
      return;
    }
    check(ip->checksum_ok() && ip->total_len() == packet.size());
    if (ip->protocol() != wire::protocol::tcp) return;
    const auto tcp = wire::TcpView::parse(ip->payload());
    check(tcp && tcp->checksum_ok(ip->source(), ip->destination()));
    follow(*ip, *tcp);
  }

  void follow(const wire::Ipv4View& ip, const wire::TcpView& tcp) {
    Conversation& c = find(ip.destination(), tcp.source_port(), tcp.destination_port());
    const wire::TcpRepr repr = wire::to_repr(tcp);
    const bool syn = tcp.has(wire::TcpFlag::syn);
    const auto size = static_cast<std::uint32_t>(tcp.payload().size());
    const std::uint32_t end =
        tcp.seq().value() + size + (syn ? 1U : 0U) + (tcp.has(wire::TcpFlag::fin) ? 1U : 0U);
    if (tcp.has(wire::TcpFlag::rst)) {
      c.right_edge.reset();
      c.phase.reset();
      return;
    }
    if (syn) {
      c.between = false;
      c.phase.reset();
      c.right_edge.reset();
      c.next_from_us = end;
      // An answer to our SYN never offers scaling (see answer_syn), so only a SYN-ACK sets it.
      c.scale = tcp.has(wire::TcpFlag::ack) ? repr.options.window_scale.value_or(0) : 0;
    } else if (Seq{c.next_from_us}.before(Seq{end})) {
      c.next_from_us = end;
    }
    check_data(c, tcp);
    if (repr.options.timestamps) {
      c.timestamps = true;
      c.timestamp = repr.options.timestamps->value;
    }
    if (!tcp.has(wire::TcpFlag::ack)) return;
    c.next_from_peer = tcp.ack().value();
    if (syn) return;
    const std::uint32_t edge = tcp.ack().value() + (std::uint32_t{tcp.window()} << c.scale);
    // A promise is kept, up to the rounding of the scale.
    if (c.right_edge && !odd_options && !c.between)
      check(!Seq{edge + (1U << c.scale)}.before(Seq{*c.right_edge}));
    c.right_edge = edge;
  }

  /// Applications write bytes that count up, so retransmissions must repeat them exactly.
  static void check_data(Conversation& c, const wire::TcpView& tcp) {
    std::uint32_t seq = tcp.seq().value();
    for (const std::byte b : tcp.payload()) {
      const auto phase = static_cast<std::uint8_t>(std::to_integer<std::uint32_t>(b) - seq);
      if (!c.phase) c.phase = phase;
      check(*c.phase == phase);
      ++seq;
    }
  }

  Conversation& find(const IpAddress& peer, std::uint16_t our_port, std::uint16_t peer_port) {
    for (Conversation& c : conversations) {
      if (c.peer == peer && c.our_port == our_port && c.peer_port == peer_port) return c;
    }
    if (conversations.size() >= 16) conversations.erase(conversations.begin());
    Conversation& added = conversations.emplace_back();
    added.peer = peer;
    added.our_port = our_port;
    added.peer_port = peer_port;
    return added;
  }
};

/// A packet with IPv4 header and valid checksums.
inline std::vector<std::byte> packet(const IpAddress& from, std::uint8_t protocol, Bytes body) {
  wire::Ipv4Repr ip;
  ip.source = from;
  ip.destination = kUs;
  ip.protocol = protocol;
  ip.payload_len = static_cast<std::uint16_t>(body.size());
  std::vector<std::byte> bytes(20 + body.size());
  Writer out{bytes};
  wire::emit(ip, out);
  out.bytes(body);
  repair_checksums(bytes, 0);
  return bytes;
}

/// A TCP segment; its data bytes equal the low bits of their sequence numbers.
inline std::vector<std::byte> segment(const IpAddress& from, const wire::TcpRepr& repr,
                                      std::size_t size) {
  std::vector<std::byte> body(wire::header_len(repr) + size);
  Writer out{body};
  wire::emit(repr, out, std::uint16_t{0});
  std::uint32_t seq = repr.seq.value() + (repr.flags.has(wire::TcpFlag::syn) ? 1U : 0U);
  for (std::size_t i = 0; i < size; ++i) out.u8(static_cast<std::uint8_t>(seq++));
  return packet(from, wire::protocol::tcp, body);
}

}  // namespace tidewire::fuzz

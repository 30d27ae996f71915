// One received segment, parsed and cut to the window as it is processed.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/seq.hpp"
#include "base/time.hpp"
#include "core/drop_reason.hpp"
#include "core/ip/packet.hpp"
#include "core/tcp/tuple.hpp"
#include "wire/tcp.hpp"

namespace tidewire::tcp {

/// What arrived, in the RFC's terms: seg.seq, seg.ack, seg.len, seg.wnd, seg.up. A coalesced frame
/// is one Segment that stands for `segs` of them.
struct Segment {
  Tuple tuple;  ///< local: destination
  Seq seq, ack;
  wire::TcpFlags flags;
  std::uint16_t window = 0;  ///< as on the wire
  std::uint16_t urgent = 0;
  std::uint16_t segs = 1;
  std::uint16_t seg_size = 0;
  InterfaceId interface = kNoInterface;
  std::uint8_t tos = 0;
  std::uint32_t text_len = 0;  ///< bytes of text
  std::array<Bytes, 4> text{};
  std::span<Bytes> train;  ///< instead of `text`: of this segment and of those behind it
  Instant ingress;
  wire::TcpOptions options;

  bool has(wire::TcpFlag flag) const noexcept { return flags.has(flag); }
  /// SEG.LEN: text, SYN and FIN.
  std::uint32_t len() const noexcept {
    return text_len + (has(wire::TcpFlag::syn) ? 1U : 0U) + (has(wire::TcpFlag::fin) ? 1U : 0U);
  }
  /// Sequence number after the last octet of SEG.LEN.
  Seq end() const noexcept { return seq + len(); }

  /// Takes n octets off the front (SYN first, then text).
  void trim_front(std::uint32_t n) noexcept;
  /// Takes n octets off the back (FIN first, then text).
  void trim_back(std::uint32_t n) noexcept;
  std::span<const Bytes> regions() const noexcept {
    return train.empty() ? std::span<const Bytes>(text) : train;
  }

 private:
  std::span<Bytes> parts() noexcept { return train.empty() ? std::span<Bytes>(text) : train; }
};

//= RFC 9293 §3.1
/// Checks header length, checksum, ports and addresses and fills in `out`. none: good.
DropReason parse_segment(const ip::Packet& packet, Segment& out) noexcept;

}  // namespace tidewire::tcp

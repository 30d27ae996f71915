// Accurate ECN (RFC 9768): how many packets and bytes came marked, told with every ACK.
#pragma once

#include <cstdint>
#include <optional>

#include "wire/ecn.hpp"
#include "wire/tcp.hpp"

namespace tidewire::tcp {

//= RFC 9768 §3.1.1, §3.2.2.1
/// AE, CWR and ECE as the number that they are on a SYN or in the ACE field.
constexpr std::uint8_t ace_of(wire::TcpFlags flags) noexcept {
  return static_cast<std::uint8_t>((flags.has(wire::TcpFlag::ae) ? 4 : 0) |
                                   (flags.has(wire::TcpFlag::cwr) ? 2 : 0) |
                                   (flags.has(wire::TcpFlag::ece) ? 1 : 0));
}
constexpr wire::TcpFlags ace_flags(std::uint8_t ace) noexcept {
  wire::TcpFlags flags;
  if ((ace & 4) != 0) flags |= wire::TcpFlag::ae;
  if ((ace & 2) != 0) flags |= wire::TcpFlag::cwr;
  if ((ace & 1) != 0) flags |= wire::TcpFlag::ece;
  return flags;
}
//= RFC 9768 §3.1.2, §3.2.2.1
/// How a SYN-ACK, and the ACK that answers it, tell the ECN field of the packet they answer.
constexpr std::uint8_t handshake_ace(wire::Ecn ip) noexcept {
  switch (ip) {
    case wire::Ecn::not_ect:
      return 2;
    case wire::Ecn::ect1:
      return 3;
    case wire::Ecn::ect0:
      return 4;
    case wire::Ecn::ce:
      break;
  }
  return 6;
}

/// Both halves of one connection that has agreed on it.
class AccurateEcn {
 public:
  static constexpr std::uint32_t kFieldMask = (1U << 24) - 1;

  //= RFC 9768 §3.2.1
  /// `ip`: of the peer's SYN or SYN-ACK.
  void start(wire::Ecn ip) noexcept;

  // --- as receiver ---
  //= RFC 9768 §3.2.2.5.1
  /// A packet that stands for `segs`, with `text` bytes, came with `ip`. True: it wants an ACK now.
  bool on_packet(wire::Ecn ip, std::uint32_t segs, std::uint32_t text) noexcept;
  std::uint8_t ace() const noexcept { return received_.packets & 7U; }
  /// The option for the next segment, if one is due. The sender leaves away what has no room.
  std::optional<wire::AccEcnOption> option() const noexcept;
  /// On a SYN-ACK: as the counters begin.
  static constexpr wire::AccEcnOption initial() noexcept { return {false, 3, {1, 0, 1}}; }
  /// The option with all that is counted.
  wire::AccEcnOption counters() const noexcept;
  /// A segment left, with the option or without.
  void on_sent(bool with_option) noexcept;

  // --- as sender ---
  //= RFC 9768 §3.2.2.2, §3.2.2.4
  /// The peer's answer to our SYN or SYN-ACK, which were not ECN-capable, by its ACE field.
  void on_handshake(std::uint8_t ace, bool pure) noexcept;
  /// The same for the ACK of our SYN-ACK.
  void on_third_ack(std::uint8_t ace, bool pure) noexcept {
    on_handshake(ace, pure);
    first_feedback_ = false;
    skip_ = pure ? 2 : 0;
  }
  void on_option(const wire::AccEcnOption& option) noexcept;
  //= RFC 9768 §3.2.2.5.2
  /// An ACK that newly delivered so many bytes of segments of `mss`: how many of them were marked.
  std::uint64_t feedback(std::uint8_t ace, const std::optional<wire::AccEcnOption>& option,
                         std::uint64_t delivered, std::uint32_t mss) noexcept;
  /// False: the path mangles the field, or the feedback; packets are not ECN-capable any more.
  bool may_mark() const noexcept { return usable_; }

 private:
  struct Counts {
    std::uint32_t packets = 5;  ///< with CE
    std::uint32_t ce = 0;       ///< bytes of text, modulo 2^24 on the wire
    std::uint32_t ect0 = 1;
    std::uint32_t ect1 = 1;
  };

  Counts received_;
  std::uint32_t sent_ce_ = 0;            ///< bytes, as the peer reported last
  std::uint8_t sent_packets_ = 5;        ///< modulo 8
  std::uint8_t unreported_ = 0;          ///< CE packets since the last ACK left
  std::uint8_t demand_ = 1;              ///< ACKs that carry the option in any case
  std::uint8_t without_ = 0;             ///< segments sent since the last option
  wire::Ecn last_ = wire::Ecn::not_ect;  ///< of the last text
  bool usable_ = true;
  bool first_feedback_ = true;
  std::uint8_t skip_ = 0;        ///< 1: the ACE field of this segment is no counter; 2: of the next
  bool options_work_ = false;    ///< the peer has sent one
  bool options_broken_ = false;  ///< its first one was zeroed on the way
};

}  // namespace tidewire::tcp

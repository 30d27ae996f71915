// Explicit congestion notification of one connection (RFC 3168, RFC 9768), both halves: what the
// peer's marks ask of us, and what ours ask of the peer.
#pragma once

#include <cstdint>

#include "base/seq.hpp"
#include "core/config.hpp"
#include "core/tcp/accurate_ecn.hpp"
#include "core/types.hpp"
#include "wire/ecn.hpp"
#include "wire/tcp.hpp"

namespace tidewire::tcp {

/// What of a SYN a listener keeps for its answer.
struct EcnOffer {
  EcnMode mode = EcnMode::off;        ///< what the answer agrees to
  wire::Ecn ip = wire::Ecn::not_ect;  ///< of the packet that brought it
};

//= RFC 3168 §6.1.1; RFC 9768 §3.1.2
/// What `use` makes of the flags of a SYN that arrived with `ip`.
EcnOffer ecn_offer(EcnUse use, wire::TcpFlags flags, wire::Ecn ip) noexcept;
/// The flags of our SYN after `retries` that got no answer.
wire::TcpFlags ecn_syn_flags(EcnUse use, std::uint32_t retries) noexcept;
/// The flags of a SYN-ACK that agrees.
wire::TcpFlags ecn_syn_ack_flags(EcnOffer offer) noexcept;

class Ecn {
 public:
  bool on() const noexcept { return mode_ != EcnMode::off; }
  bool accurate() const noexcept { return mode_ == EcnMode::accurate; }
  EcnMode mode() const noexcept { return mode_; }
  /// A packet came that was sent as ECN-capable.
  bool seen() const noexcept { return seen_; }

  // --- the handshake ---
  void accept(EcnOffer offer) noexcept;
  /// What our SYN-ACK says about the SYN.
  EcnOffer offer() const noexcept { return {mode_, syn_ip_}; }
  //= RFC 3168 §6.1.1; RFC 9768 §3.1.2
  /// The answer to a SYN of ours that asked as `use` says.
  void on_syn_ack(EcnUse use, wire::TcpFlags flags, wire::Ecn ip) noexcept;
  /// The ACK of our SYN-ACK; `pure`: without text, FIN and SACK.
  void on_third_ack(wire::TcpFlags flags, bool pure) noexcept {
    if (accurate()) counts_.on_third_ack(ace_of(flags), pure);
  }

  // --- as receiver ---
  enum class Answer : std::uint8_t { as_usual, at_once };
  //= RFC 3168 §6.1.3
  /// A packet arrived with `ip` and these flags, `text` bytes and for `segs` segments.
  Answer on_packet(wire::Ecn ip, wire::TcpFlags flags, std::uint32_t segs,
                   std::uint32_t text) noexcept;

  // --- as sender ---
  /// What is about to leave.
  enum class Kind : std::uint8_t {
    new_text,
    other_text,  ///< sent before
    no_text,
  };
  /// Flags for a segment other than SYN and RST.
  wire::TcpFlags flags(Kind kind) const noexcept;
  /// The ECN field of its packet.
  wire::Ecn ip(Kind kind) const noexcept {
    return kind == Kind::new_text && counts_.may_mark() ? wire::Ecn::ect0 : wire::Ecn::not_ect;
  }
  /// CWR is part of a number: it has to be the same on all segments of a frame, so there is one.
  bool one_by_one() const noexcept { return accurate() && (counts_.ace() & 2) != 0; }
  std::optional<wire::AccEcnOption> option() const noexcept {
    return accurate() ? counts_.option() : std::nullopt;
  }
  void on_sent(Kind kind, bool with_option) noexcept;
  void on_option(const wire::AccEcnOption& option) noexcept {
    if (accurate()) counts_.on_option(option);
  }
  //= RFC 9768 §3.2.2.5.2
  std::uint64_t feedback(wire::TcpFlags flags, const std::optional<wire::AccEcnOption>& option,
                         std::uint64_t delivered, std::uint32_t mss) noexcept {
    return counts_.feedback(ace_of(flags), option, delivered, mss);
  }
  //= RFC 3168 §6.1.2
  /// True if an ACK with these flags says that a packet was marked.
  bool echoes(wire::TcpFlags flags) const noexcept {
    return mode_ == EcnMode::classic && flags.has(wire::TcpFlag::ece) &&
           !flags.has(wire::TcpFlag::syn);
  }
  /// True if congestion that shows now is that of a window for which cwnd was reduced already.
  bool reduced(Seq snd_una) const noexcept { return reduced_ && snd_una.before(reduced_until_); }
  /// cwnd was reduced, for whatever reason: once is enough until all sent so far is acknowledged.
  void on_reduced(Seq snd_nxt) noexcept {
    reduced_ = owe_cwr_ = true;
    confirmed_ = false;
    reduced_until_ = snd_nxt;
  }
  /// A mark came while cwnd was reduced: there is congestion, whatever became of the losses.
  void confirm() noexcept { confirmed_ = true; }
  /// The losses were none. True if the reduction may be taken back.
  bool on_spurious() noexcept {
    if (confirmed_) return false;
    reduced_ = owe_cwr_ = false;
    return true;
  }

  // --- rest; only for what is not accurate ---
  std::uint8_t pack() const noexcept;
  void unpack(std::uint8_t bits) noexcept;

 private:
  EcnMode mode_ = EcnMode::off;
  wire::Ecn syn_ip_ = wire::Ecn::not_ect;  ///< of the peer's SYN or SYN-ACK
  bool seen_ = false;
  bool echo_ = false;     ///< every ACK says ECE until the peer says CWR
  bool owe_cwr_ = false;  ///< to go with the next new text
  bool reduced_ = false;  ///< reduced_until_ counts
  bool confirmed_ = false;
  bool answers_ = false;  ///< the next segment is the ACK of the SYN-ACK
  Seq reduced_until_;
  AccurateEcn counts_;
};

}  // namespace tidewire::tcp

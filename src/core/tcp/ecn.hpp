// Explicit congestion notification of one connection (RFC 3168), both halves: what the peer's marks
// ask of us, and what ours ask of the peer.
#pragma once

#include <cstdint>

#include "base/seq.hpp"
#include "core/config.hpp"
#include "core/types.hpp"
#include "wire/ecn.hpp"
#include "wire/tcp.hpp"

namespace tidewire::tcp {

/// What of a SYN a listener keeps for its answer.
struct EcnOffer {
  EcnMode mode = EcnMode::off;        ///< what the answer agrees to
  wire::Ecn ip = wire::Ecn::not_ect;  ///< of the packet that brought it
};

//= RFC 3168 §6.1.1
/// What `use` makes of the flags of a SYN that arrived with `ip`.
EcnOffer ecn_offer(EcnUse use, wire::TcpFlags flags, wire::Ecn ip) noexcept;
/// The flags of our SYN after `retries` that got no answer.
wire::TcpFlags ecn_syn_flags(EcnUse use, std::uint32_t retries) noexcept;
/// The flags of a SYN-ACK that agrees.
wire::TcpFlags ecn_syn_ack_flags(EcnOffer offer) noexcept;

class Ecn {
 public:
  bool on() const noexcept { return mode_ != EcnMode::off; }
  EcnMode mode() const noexcept { return mode_; }
  /// A packet came that was sent as ECN-capable.
  bool seen() const noexcept { return seen_; }

  // --- the handshake ---
  void accept(EcnOffer offer) noexcept { mode_ = offer.mode; }
  //= RFC 3168 §6.1.1
  /// The answer to a SYN of ours that asked as `use` says.
  void on_syn_ack(EcnUse use, wire::TcpFlags flags) noexcept;

  // --- as receiver ---
  enum class Answer : std::uint8_t { as_usual, at_once };
  //= RFC 3168 §6.1.3
  /// Text arrived in packets with `ip` and these flags.
  Answer on_text(wire::Ecn ip, wire::TcpFlags flags) noexcept;

  // --- as sender ---
  /// Flags for a segment other than SYN and RST.
  wire::TcpFlags flags(bool new_text) const noexcept;
  /// The ECN field of its packet.
  wire::Ecn ip(bool new_text) const noexcept {
    return new_text ? wire::Ecn::ect0 : wire::Ecn::not_ect;
  }
  void on_sent(bool new_text) noexcept {
    if (new_text) owe_cwr_ = false;
  }
  //= RFC 3168 §6.1.2
  /// True if an ACK with these flags says that a packet was marked.
  bool echoes(wire::TcpFlags flags) const noexcept {
    return on() && flags.has(wire::TcpFlag::ece) && !flags.has(wire::TcpFlag::syn);
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

  // --- rest ---
  std::uint8_t pack() const noexcept;
  void unpack(std::uint8_t bits) noexcept;

 private:
  EcnMode mode_ = EcnMode::off;
  bool seen_ = false;
  bool echo_ = false;     ///< every ACK says ECE until the peer says CWR
  bool owe_cwr_ = false;  ///< to go with the next new text
  bool reduced_ = false;  ///< reduced_until_ counts
  bool confirmed_ = false;
  Seq reduced_until_;
};

}  // namespace tidewire::tcp

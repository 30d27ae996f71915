#include "core/tcp/ecn.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;
using wire::TcpFlags;

EcnOffer ecn_offer(EcnUse use, TcpFlags flags, wire::Ecn ip) noexcept {
  EcnOffer offer{EcnMode::off, ip};
  if (use == EcnUse::never) return offer;
  //= RFC 3168 §6.1.1.1
  // A SYN in an ECN-capable packet comes from a host that has it wrong (as Linux).
  if (flags.has(TcpFlag::ece) && flags.has(TcpFlag::cwr) && ip == wire::Ecn::not_ect) {
    offer.mode = EcnMode::classic;
  }
  return offer;
}

TcpFlags ecn_syn_flags(EcnUse use, std::uint32_t retries) noexcept {
  //= RFC 3168 §6.1.1.1
  // Some boxes drop what asks for ECN: the next try does not ask.
  if (use != EcnUse::request || retries > 0) return {};
  return TcpFlag::ece | TcpFlag::cwr;
}

TcpFlags ecn_syn_ack_flags(EcnOffer offer) noexcept {
  return offer.mode == EcnMode::classic ? TcpFlags{TcpFlag::ece} : TcpFlags{};
}

void Ecn::on_syn_ack(EcnUse use, TcpFlags flags) noexcept {
  // Both flags are a SYN reflected by a broken host.
  if (use == EcnUse::request && flags.has(TcpFlag::ece) && !flags.has(TcpFlag::cwr)) {
    mode_ = EcnMode::classic;
  }
}

Ecn::Answer Ecn::on_text(wire::Ecn ip, TcpFlags flags) noexcept {
  Answer answer = Answer::as_usual;
  if (flags.has(TcpFlag::cwr)) {
    echo_ = false;
    // As Linux: its window may be one segment now, and it waits for our ACK.
    answer = Answer::at_once;
  }
  if (ip == wire::Ecn::ce) {
    if (!echo_) answer = Answer::at_once;
    echo_ = true;
  } else if (ip == wire::Ecn::not_ect && seen_) {
    answer = Answer::at_once;  // as Linux: a retransmission, its sender has trouble
  }
  if (ip != wire::Ecn::not_ect) seen_ = true;
  return answer;
}

TcpFlags Ecn::flags(bool new_text) const noexcept {
  TcpFlags flags;
  if (echo_) flags |= TcpFlag::ece;
  if (new_text && owe_cwr_) flags |= TcpFlag::cwr;
  return flags;
}

std::uint8_t Ecn::pack() const noexcept {
  return static_cast<std::uint8_t>((mode_ == EcnMode::classic ? 1 : 0) | (seen_ ? 2 : 0) |
                                   (echo_ ? 4 : 0) | (owe_cwr_ ? 8 : 0));
}

void Ecn::unpack(std::uint8_t bits) noexcept {
  mode_ = (bits & 1) != 0 ? EcnMode::classic : EcnMode::off;
  seen_ = (bits & 2) != 0;
  echo_ = (bits & 4) != 0;
  owe_cwr_ = (bits & 8) != 0;
}

}  // namespace tidewire::tcp

#include "core/tcp/ecn.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;
using wire::TcpFlags;

namespace {
constexpr std::uint8_t kAskAccurate = 7;
constexpr std::uint8_t kAskClassic = 3;
}  // namespace

EcnOffer ecn_offer(EcnUse use, TcpFlags flags, wire::Ecn ip) noexcept {
  EcnOffer offer{EcnMode::off, ip};
  const std::uint8_t ace = ace_of(flags);
  if (use == EcnUse::never || ace == 0) return offer;
  //= RFC 9768 §3.1.2, §3.1.5
  // What is no classic request asks for accurate feedback, whatever it may mean one day.
  if (use == EcnUse::accurate && ace != kAskClassic) {
    offer.mode = EcnMode::accurate;
  } else if ((ace & kAskClassic) == kAskClassic && ip == wire::Ecn::not_ect) {
    //= RFC 3168 §6.1.1.1
    // A SYN in an ECN-capable packet comes from a host that has it wrong (as Linux).
    offer.mode = EcnMode::classic;
  }
  return offer;
}

TcpFlags ecn_syn_flags(EcnUse use, std::uint32_t retries) noexcept {
  //= RFC 3168 §6.1.1.1
  // Some boxes drop what asks for ECN: the next try does not ask.
  if (use == EcnUse::request && retries == 0) return ace_flags(kAskClassic);
  //= RFC 9768 §3.1.4.1
  // Here the one after it.
  if (use == EcnUse::accurate && retries <= 1) return ace_flags(kAskAccurate);
  return {};
}

TcpFlags ecn_syn_ack_flags(EcnOffer offer) noexcept {
  switch (offer.mode) {
    case EcnMode::off:
      return {};
    case EcnMode::classic:
      return TcpFlag::ece;
    case EcnMode::accurate:
      break;
  }
  return ace_flags(handshake_ace(offer.ip));
}

void Ecn::accept(EcnOffer offer) noexcept {
  mode_ = offer.mode;
  syn_ip_ = offer.ip;
  if (accurate()) counts_.start(offer.ip);
}

void Ecn::on_syn_ack(EcnUse use, TcpFlags flags, wire::Ecn ip) noexcept {
  const std::uint8_t ace = ace_of(flags);
  if (use == EcnUse::request) {
    // ECE and CWR together are a SYN reflected by a broken host.
    if ((ace & kAskClassic) == 1) mode_ = EcnMode::classic;
  } else if (use == EcnUse::accurate && ace != 0 && ace != 7) {
    //= RFC 9768 §3.1.2
    // 1 is the answer of RFC 3168; 5 was that of the ECN nonce.
    mode_ = ace == 1 || ace == 5 ? EcnMode::classic : EcnMode::accurate;
    if (!accurate()) return;
    syn_ip_ = ip;
    answers_ = true;
    counts_.start(ip);
    counts_.on_handshake(ace, true);
  }
}

Ecn::Answer Ecn::on_packet(wire::Ecn ip, TcpFlags flags, std::uint32_t segs,
                           std::uint32_t text) noexcept {
  const bool seen = seen_;
  if (ip != wire::Ecn::not_ect) seen_ = true;
  if (accurate()) return counts_.on_packet(ip, segs, text) ? Answer::at_once : Answer::as_usual;
  if (text == 0) return Answer::as_usual;
  Answer answer = Answer::as_usual;
  if (flags.has(TcpFlag::cwr)) {
    echo_ = false;
    // As Linux: its window may be one segment now, and it waits for our ACK.
    answer = Answer::at_once;
  }
  if (ip == wire::Ecn::ce) {
    if (!echo_) answer = Answer::at_once;
    echo_ = true;
  } else if (ip == wire::Ecn::not_ect && seen) {
    answer = Answer::at_once;  // as Linux: a retransmission, its sender has trouble
  }
  return answer;
}

TcpFlags Ecn::flags(Kind kind) const noexcept {
  if (accurate()) {
    //= RFC 9768 §3.2.2.1
    if (answers_ && kind == Kind::no_text) return ace_flags(handshake_ace(syn_ip_));
    return ace_flags(counts_.ace());
  }
  TcpFlags flags;
  if (echo_) flags |= TcpFlag::ece;
  if (kind == Kind::new_text && owe_cwr_) flags |= TcpFlag::cwr;
  return flags;
}

void Ecn::on_sent(Kind kind, bool with_option) noexcept {
  answers_ = false;
  if (accurate()) return counts_.on_sent(with_option);
  if (kind == Kind::new_text) owe_cwr_ = false;
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

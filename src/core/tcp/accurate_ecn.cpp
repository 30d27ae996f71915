#include "core/tcp/accurate_ecn.hpp"

#include <algorithm>

namespace tidewire::tcp {
namespace {

/// Segments without a change after which the counters are told again.
constexpr std::uint8_t kBeacon = 8;
/// CE packets that are told at once (RFC 9768 §3.2.2.5.1: at most 6, 2 recommended).
constexpr std::uint8_t kMostUnreported = 2;

}  // namespace

void AccurateEcn::start(wire::Ecn ip) noexcept {
  *this = AccurateEcn{};
  if (ip == wire::Ecn::ce) ++received_.packets;
  last_ = ip;
}

bool AccurateEcn::on_packet(wire::Ecn ip, std::uint32_t segs, std::uint32_t text) noexcept {
  if (skip_ != 0) --skip_;
  const bool ce = ip == wire::Ecn::ce;
  if (ce) {
    received_.packets += segs;
    received_.ce += text;
    unreported_ = static_cast<std::uint8_t>(std::min<std::uint32_t>(unreported_ + segs, 255));
  } else if (ip == wire::Ecn::ect0) {
    received_.ect0 += text;
  } else if (ip == wire::Ecn::ect1) {
    received_.ect1 += text;
  }
  if (text == 0) return false;
  const bool change = ip != last_;
  last_ = ip;
  if (ce || change) demand_ = 2;
  return change || unreported_ >= kMostUnreported;
}

wire::AccEcnOption AccurateEcn::counters() const noexcept {
  wire::AccEcnOption option;
  // What arrives is ECT(0) or CE, apart from mangled packets: ECT(1) last, and only if there was.
  option.count = received_.ect1 != 1 ? 3 : 2;
  option.fields = {received_.ect0 & kFieldMask, received_.ce & kFieldMask,
                   received_.ect1 & kFieldMask};
  return option;
}

std::optional<wire::AccEcnOption> AccurateEcn::option() const noexcept {
  if (!options_work_ || (demand_ == 0 && without_ < kBeacon)) return std::nullopt;
  return counters();
}

void AccurateEcn::on_sent(bool with_option) noexcept {
  unreported_ = 0;
  if (!with_option) {
    if (without_ < kBeacon) ++without_;
    return;
  }
  without_ = 0;
  if (demand_ > 0) --demand_;
}

void AccurateEcn::on_handshake(std::uint8_t ace, bool pure) noexcept {
  if (ace == 0 && pure) usable_ = false;
  // 1, 5 and 7 say nothing (RFC 9768 §3.2.2.1).
  if (!pure || ace == 0 || ace == 1 || ace == 5 || ace == 7) return;
  if (ace == handshake_ace(wire::Ecn::ce)) sent_packets_ = 6;
  //= RFC 9768 §3.2.2.3
  // It left as not ECN-capable and arrived as something else.
  if (ace != handshake_ace(wire::Ecn::not_ect)) usable_ = false;
}

//= RFC 9768 §3.2.3.2.4
void AccurateEcn::on_option(const wire::AccEcnOption& option) noexcept {
  if (!options_work_ && !options_broken_ && option.count > 0) {
    // Counters begin at 1: what is 0 was zeroed on the way.
    options_broken_ = option.ect0() == 0U || option.ect1() == 0U;
  }
  options_work_ = !options_broken_;
}

std::uint64_t AccurateEcn::feedback(std::uint8_t ace,
                                    const std::optional<wire::AccEcnOption>& option,
                                    std::uint64_t delivered, std::uint32_t mss) noexcept {
  if (skip_ != 0 || delivered == 0) return 0;  // perhaps older than the last one
  if (first_feedback_) {
    first_feedback_ = false;
    if (ace == 0) usable_ = false;
  }
  const auto more = static_cast<std::uint8_t>((ace - sent_packets_) & 7);
  sent_packets_ = (sent_packets_ + more) & 7U;
  if (!usable_) return 0;
  if (option && options_work_) {
    if (const auto ce = option->ce()) {
      const std::uint32_t bytes = (*ce - sent_ce_) & kFieldMask;
      if (bytes > kFieldMask / 2) return 0;  // an older one
      sent_ce_ = *ce;
      return std::min<std::uint64_t>(bytes, delivered);
    }
  }
  if (more == 0) return 0;
  mss = std::max<std::uint32_t>(mss, 1);
  std::uint64_t packets = more;
  const std::uint64_t arrived = (delivered + mss - 1) / mss;
  // Three bits wrap: of what is possible the most.
  if (arrived > 7) packets = arrived - ((arrived - more) & 7);
  const std::uint64_t bytes = std::min(packets * mss, delivered);
  sent_ce_ = static_cast<std::uint32_t>(sent_ce_ + bytes) & kFieldMask;
  return bytes;
}

}  // namespace tidewire::tcp

#include "core/tcp/recover/prr.hpp"

#include <algorithm>

#include "base/fixed_point.hpp"

namespace tidewire::tcp {

void Prr::enter(std::uint64_t ssthresh, std::uint64_t recover_fs) noexcept {
  *this = Prr{};
  ssthresh_ = ssthresh;
  recover_fs_ = std::max<std::uint64_t>(recover_fs, 1);
}

void Prr::on_ack(std::uint64_t delivered, std::uint64_t pipe, std::uint32_t mss,
                 bool progress) noexcept {
  delivered_ += delivered;
  if (pipe > ssthresh_) {
    //= RFC 6937 §3.1: proportional rate reduction
    const Wide scaled = (Wide{delivered_} * ssthresh_ + recover_fs_ - 1) / recover_fs_;
    const auto target = static_cast<std::uint64_t>(scaled);
    allowance_ = target > out_ ? target - out_ : 0;
    return;
  }
  //= RFC 6937 §3.1: PRR-SSRB, and without progress PRR-CRB
  const std::uint64_t unsent = delivered_ > out_ ? delivered_ - out_ : 0;
  std::uint64_t limit = std::max(unsent, delivered);
  if (progress) limit += mss;
  allowance_ = std::min(ssthresh_ - pipe, limit);
}

void Prr::on_sent(std::uint64_t bytes) noexcept {
  out_ += bytes;
  allowance_ -= std::min(bytes, allowance_);
}

void Prr::force(std::uint32_t mss) noexcept {
  allowance_ = std::max<std::uint64_t>(allowance_, mss);
}

}  // namespace tidewire::tcp

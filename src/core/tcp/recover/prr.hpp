// Proportional rate reduction: how much to send per ACK during recovery (RFC 6937).
#pragma once

#include <cstdint>

namespace tidewire::tcp {

/// Between entering and leaving fast recovery: sends in proportion to what is delivered so that the
/// flight ends at ssthresh. PRR with slow-start reduction bound.
class Prr {
 public:
  /// Recovery begins with `recover_fs` bytes in flight, aiming at `ssthresh`.
  void enter(std::uint64_t ssthresh, std::uint64_t recover_fs) noexcept;

  //= RFC 6937 §3
  /// An ACK delivered `delivered` bytes (acked or SACKed) and leaves `pipe` in flight. `progress`:
  /// snd.una advanced and no new loss was found. After this allowance() bytes may be sent.
  void on_ack(std::uint64_t delivered, std::uint64_t pipe, std::uint32_t mss,
              bool progress) noexcept;
  /// Bytes sent during recovery, new or again.
  void on_sent(std::uint64_t bytes) noexcept;
  /// The first retransmission of a recovery goes out whatever the arithmetic says.
  void force(std::uint32_t mss) noexcept;

  std::uint64_t allowance() const noexcept { return allowance_; }
  std::uint64_t ssthresh() const noexcept { return ssthresh_; }

 private:
  std::uint64_t ssthresh_ = 0;
  std::uint64_t recover_fs_ = 1;
  std::uint64_t delivered_ = 0;
  std::uint64_t out_ = 0;
  std::uint64_t allowance_ = 0;
};

}  // namespace tidewire::tcp

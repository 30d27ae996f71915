// Notices that data was sent again for nothing, so that the reduction can be taken back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/seq_range.hpp"
#include "base/time.hpp"

namespace tidewire::tcp {

/// Follows what was sent again. An episode lasts from entering recovery (or a timeout) until a
/// while after its end. Two ways to know that it was a mistake: the first ACK after a
/// retransmission answers the original (Eifel, RFC 3522), or the peer reports every retransmission
/// of the episode as a duplicate (RFC 3708). What the network doubled by itself does not count.
/// Memory is fixed: of many retransmissions only the sum is known.
class SpuriousDetector {
 public:
  /// What a report of duplicates means.
  struct Report {
    bool ours = false;  ///< it is about data that was sent again
    bool all = false;   ///< with it, everything sent again in the episode was for nothing
  };

  /// An episode begins; what was sent again before does not count for it.
  void start() noexcept;
  void stop() noexcept { active_ = false; }
  bool active() const noexcept { return active_; }

  /// `range` was sent again. `head`: it begins with the oldest data in flight. `stamp`: the time
  /// that its timestamps option told.
  void on_retransmit(SeqRange range, bool head, Instant stamp) noexcept;
  //= RFC 3708 §3
  /// `range` was reported as received twice.
  Report on_dsack(SeqRange range) noexcept;
  //= RFC 3522 §3.2 (2), (3), (4)
  /// An ACK advanced snd.una. True: it is the first one since the retransmission that began the
  /// episode, and it answers a segment stamped in an earlier millisecond (a tick of the
  /// timestamps).
  bool on_progress(std::optional<Duration> echoed_rtt, Instant now) noexcept;

 private:
  static constexpr std::size_t kMost = 16;

  struct Again {
    SeqRange range;
    std::uint32_t unreported = 0;  // bytes
    std::uint32_t episode = 0;
  };
  void spill(const Again& oldest) noexcept;

  std::array<Again, kMost> again_{};  // the latest, a ring
  std::size_t next_ = 0;
  std::uint32_t episode_ = 0;
  bool active_ = false;
  bool ever_ = false;    // something was sent again in the episode
  bool judged_ = false;  // the first ACK has come
  std::int64_t first_tick_ = 0;
  std::uint64_t pending_ = 0;  // bytes of the episode that were not reported
  std::uint64_t spilled_ = 0;  // of these, bytes for which there was no room in the ring
  SeqRange spilled_range_;     // what they lie in
};

}  // namespace tidewire::tcp

// Which shard the fragments of a packet go to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/time.hpp"
#include "wire/frame.hpp"

namespace tidewire::runtime {

/// Only the first fragment of a packet names its ports. All fragments of a packet come by here;
/// those that come before the first wait, so that one shard gets them all and puts the packet
/// together. Bounded in packets, bytes and time: who sends fragments without a first one loses
/// what waited longest.
class FragmentOwners {
 public:
  static constexpr std::size_t kPackets = 1024;
  static constexpr std::size_t kHeldBytes = std::size_t{1} << 20;
  static constexpr Duration kLifetime = Duration::seconds(30);  ///< as Linux

  /// A fragment that waits.
  struct Held {
    std::vector<std::byte> bytes;
    RxFrame frame;  ///< of these bytes
  };

  /// The first fragment of `packet` has come: what waited for it, and from now on its others, have
  /// this owner.
  std::vector<Held> learn(std::uint64_t packet, std::uint32_t owner, Instant now);
  std::optional<std::uint32_t> owner(std::uint64_t packet, Instant now);
  /// Keeps a copy until the first fragment comes.
  void hold(std::uint64_t packet, const RxFrame& frame, Instant now);

  std::size_t packets() const noexcept { return packets_.size(); }
  std::size_t held_bytes() const noexcept { return held_bytes_; }
  /// Fragments whose first never came, or not in time.
  std::uint64_t lost() const noexcept { return lost_; }

 private:
  struct Packet {
    std::optional<std::uint32_t> owner;
    std::vector<Held> held;
    Instant since;
  };

  Packet& entry(std::uint64_t packet, Instant now);
  void forget_old(Instant now);
  void forget_oldest();

  std::unordered_map<std::uint64_t, Packet> packets_;
  std::deque<std::uint64_t> by_age_;
  std::size_t held_bytes_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace tidewire::runtime

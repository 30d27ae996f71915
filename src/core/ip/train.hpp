// Packets of one TCP flow that arrived one behind the other in a batch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.hpp"
#include "base/seq.hpp"
#include "core/ip/packet.hpp"
#include "wire/checksum.hpp"
#include "wire/frame.hpp"

namespace tidewire::ip {

/// The frames behind the one that is being handled. TCP may take those that go on where its segment
/// ends and differ from it in nothing that matters, and handle them as one, as if the device had
/// coalesced them: the lookup, the checks and the ACK of a segment are then paid for once. What is
/// not taken is handled as usual.
class Train {
 public:
  /// `behind`: what came after `first` on the same interface. `trusted`: as Interface::trusted.
  Train(Bytes first, std::span<const RxFrame> behind, bool trusted) noexcept
      : first_(first), behind_(behind), trusted_(trusted) {}

  bool empty() const noexcept { return behind_.empty(); }
  /// Sets what the packets to take are like: those of `packet`, a TCP segment without text beyond
  /// `packet.transport`. False: nothing can follow it.
  bool start(const Packet& packet) noexcept;
  /// The text of the next frame, if its first octet is number `seq` and there are `room` octets for
  /// it; nothing otherwise, and after one that is shorter than the first or pushed.
  std::optional<Bytes> take(Seq seq, std::size_t room) noexcept;

  std::size_t taken() const noexcept { return taken_; }        ///< frames
  std::size_t taken_bytes() const noexcept { return bytes_; }  ///< of frames
  bool pushed() const noexcept { return pushed_; }             ///< the last one taken had PSH

 private:
  bool continues(Bytes frame, Seq seq) const noexcept;
  bool intact(const RxFrame& frame) const noexcept;

  Bytes first_;  ///< the whole first frame
  std::span<const RxFrame> behind_;
  std::size_t taken_ = 0;
  std::size_t bytes_ = 0;
  std::size_t network_ = 0;  ///< where the IP header begins, in each frame
  std::size_t text_ = 0;     ///< where the text begins
  wire::Checksum pseudo_;    ///< of the pseudo header but for its length
  bool trusted_;
  bool pushed_ = false;
};

}  // namespace tidewire::ip

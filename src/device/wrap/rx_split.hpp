// The way back from received super-segments to wire packets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "wire/frame.hpp"

namespace tidewire::device {

/// Where the headers of a plain TCP or UDP packet are.
struct PacketLayers {
  std::size_t network = 0;
  std::size_t transport = 0;
  std::size_t payload = 0;  ///< offset of the transport payload
  std::uint8_t protocol = 0;
};

/// Nothing for anything that is not TCP or UDP directly in IPv4 (not a fragment) or IPv6, or is cut
/// short.
std::optional<PacketLayers> find_layers(Bytes head, Medium medium) noexcept;

/// Shows a received frame that is coalesced or has a partial checksum as a frame to transmit, so
/// that materialise() can make its wire packets.
class RxSplitter {
 public:
  /// True if the frame is one wire packet with a final checksum already.
  static bool is_plain(const RxFrame& frame) noexcept {
    return frame.seg_size == 0 && frame.checksum != ChecksumState::partial;
  }
  /// The frame to transmit, valid until the next call; null if the headers cannot be read.
  const TxFrame* convert(const RxFrame& frame, Medium medium);

 private:
  std::vector<std::byte> headers_;
  std::array<Bytes, 4> payload_{};
  TxFrame frame_;
};

}  // namespace tidewire::device

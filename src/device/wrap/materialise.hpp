// Turns a TxFrame into the bytes of its wire packets: shared by every device that copies.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "wire/checksum.hpp"
#include "wire/frame.hpp"

namespace tidewire::device {

/// How many wire packets the frame stands for; at least 1.
std::uint32_t wire_packets(const TxFrame& frame) noexcept;
/// Bytes of wire packet number `segment`, link header included.
std::size_t wire_packet_size(const TxFrame& frame, std::uint32_t segment) noexcept;

/// Makes the wire packets of one frame: what they have in common is summed up once. The frame
/// outlives it.
class Cutter {
 public:
  explicit Cutter(const TxFrame& frame) noexcept;

  std::uint32_t packets() const noexcept { return packets_; }
  /// As materialise().
  std::size_t write(std::uint32_t segment, MutBytes out) const noexcept;

 private:
  void patch_network(MutBytes packet, std::uint32_t segment) const noexcept;
  void patch_transport(std::byte* at, std::size_t offset, std::size_t size, std::uint32_t segment,
                       wire::Checksum& sum) const noexcept;

  const TxFrame& frame_;
  std::size_t payload_;
  std::uint32_t packets_;
  bool completes_;  ///< a pending checksum
  bool tcp_;
  bool v6_ = false;
  wire::Checksum network_sum_;    ///< of the IPv4 header but for what differs
  wire::Checksum transport_sum_;  ///< of pseudo header and transport header but for what differs
};

/// Writes wire packet number `segment` (from 0) to the front of `out` and returns its size; 0 if it
/// does not fit or there is no such packet. Lengths, IPv4 identification, sequence number, flags
/// and checksums are those of that packet; payload is copied and summed in one pass.
std::size_t materialise(const TxFrame& frame, std::uint32_t segment, MutBytes out) noexcept;

/// Writes the frame as it stands, super-segment or not, to the front of `out` and returns its size;
/// 0 if it does not fit.
std::size_t gather(const TxFrame& frame, MutBytes out) noexcept;

}  // namespace tidewire::device

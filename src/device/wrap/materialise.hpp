// Turns a TxFrame into the bytes of its wire packets: shared by every device that copies.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "wire/frame.hpp"

namespace tidewire::device {

/// How many wire packets the frame stands for; at least 1.
std::uint32_t wire_packets(const TxFrame& frame) noexcept;
/// Bytes of wire packet number `segment`, link header included.
std::size_t wire_packet_size(const TxFrame& frame, std::uint32_t segment) noexcept;

/// Writes wire packet number `segment` (from 0) to the front of `out` and returns its size; 0 if it
/// does not fit or there is no such packet. Lengths, IPv4 identification, sequence number, flags
/// and checksums are those of that packet; payload is copied and summed in one pass.
std::size_t materialise(const TxFrame& frame, std::uint32_t segment, MutBytes out) noexcept;

/// Writes the frame as it stands, super-segment or not, to the front of `out` and returns its size;
/// 0 if it does not fit.
std::size_t gather(const TxFrame& frame, MutBytes out) noexcept;

}  // namespace tidewire::device

// What crosses the border between the stack and a device: frames, possibly super-segments.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.hpp"
#include "base/time.hpp"

namespace tidewire {

using InterfaceId = std::uint16_t;
inline constexpr InterfaceId kNoInterface = 0xffff;

enum class ChecksumState : std::uint8_t {
  unknown,   ///< not looked at: the stack verifies
  verified,  ///< checked by a trusted device or peer
  partial,   ///< from a trusted peer on the same machine; only the pseudo-header sum is filled in
};

/// One received frame. If `seg_size` is not 0 it stands for `segs` wire packets of one flow whose
/// payloads are contiguous, all but the last of `seg_size` bytes.
/// All spans belong to the device and are valid until its next receive.
struct RxFrame {
  Bytes head;                   ///< contiguous; holds at least all headers, often the whole frame
  std::array<Bytes, 3> more{};  ///< further payload, in order; unused spans are empty
  std::uint16_t seg_size = 0;   ///< transport payload bytes per wire packet; 0: one packet
  std::uint16_t segs = 1;       ///< wire packets this frame stands for
  ChecksumState checksum = ChecksumState::unknown;
  Instant ingress;  ///< when it arrived; feeds RTT and delivery rate only

  constexpr std::size_t size() const noexcept {
    return head.size() + more[0].size() + more[1].size() + more[2].size();
  }
};

/// One frame to transmit: headers, then `payload` regions. With `seg_size` not 0 the device (or the
/// offload emulator before it) cuts the transport payload into packets of `seg_size` bytes, repeats
/// the headers, increments the IPv4 identification, advances the sequence number, and puts CWR on
/// the first and FIN and PSH on the last only.
/// Spans are valid for the duration of TxSink::push only; a sink that holds a frame copies it. The
/// exception is what the regions of `payload` point to when `payload_stays` is set.
struct TxFrame {
  InterfaceId interface = kNoInterface;
  Bytes headers;                      ///< link, network and transport headers, built once
  std::span<const Bytes> payload;     ///< gathered payload after the headers
  std::uint32_t seg_size = 0;         ///< payload bytes per wire packet; 0: do not segment
  std::uint16_t segs = 1;             ///< wire packets this frame stands for
  std::uint8_t network_offset = 0;    ///< of the IP header in `headers`
  std::uint8_t transport_offset = 0;  ///< of the transport header; 0: none
  /// True: the transport checksum field holds the folded pseudo-header sum (not complemented) and
  /// must be completed over transport header and payload. False: checksums are final. With seg_size
  /// not 0 it is always true, and the length in the sum is that of the whole frame (as Linux has
  /// it).
  bool checksum_pending = false;
  std::uint8_t checksum_offset =
      0;  ///< of the checksum field from the start of the transport header

  /// The bytes of the payload (not the list of regions, nor the headers) stay where and what they
  /// are until whoever pulls the stack calls it again: TCP's text, in its send buffer. A device may
  /// refer to them until its flush(). What passes on bytes of its own leaves this false.
  bool payload_stays = false;

  constexpr std::size_t payload_size() const noexcept {
    std::size_t total = 0;
    for (const Bytes region : payload) total += region.size();
    return total;
  }
  constexpr std::size_t size() const noexcept { return headers.size() + payload_size(); }
};

enum class PushResult : std::uint8_t { taken, full };

/// Takes frames from the stack. `full` means: nothing was taken, and the interface is blocked until
/// Stack::on_writable.
class TxSink {
 public:
  virtual PushResult push(const TxFrame& frame) noexcept = 0;

 protected:
  TxSink() = default;
  TxSink(const TxSink&) = default;
  TxSink& operator=(const TxSink&) = default;
  ~TxSink() = default;
};

/// What carries the frames of an interface.
enum class Medium : std::uint8_t {
  ethernet,  ///< frames start with an Ethernet II header; addresses are resolved by ARP (and ND)
  ip,        ///< frames start with the IP header; no resolution (loopback, TUN)
};

}  // namespace tidewire

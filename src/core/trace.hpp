// What happened and why, as plain records in a ring the caller owns.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/drop_reason.hpp"
#include "core/types.hpp"

namespace tidewire {

enum class TraceKind : std::uint8_t {
  segment_in,      ///< a, b: seq, ack; c: payload bytes; d: flags; e: window
  segment_out,     ///< the same
  retransmission,  ///< a: seq; c: bytes; and the cause
  state,           ///< a: from, b: to (TcpState)
  congestion,      ///< a: cwnd bytes; b: ssthresh; c: in flight; d: in recovery
  rtt,             ///< in microseconds: a: sample; b: srtt; c: rttvar; d: rto
  loss,            ///< a: seq; c: bytes marked lost; and the cause
  drop,            ///< the reason
  spurious,        ///< a: seq; b, c: segments, bytes that were sent again though the peer had them
  undo,            ///< a: cwnd; b: ssthresh, as before the loss again; d: UndoCause
  ecn,             ///< a: EcnMode agreed on; b: segments with text that came with CE
};

/// Why something was retransmitted or marked lost.
enum class LossCause : std::uint8_t {
  none,
  duplicate_acks,
  sack,
  rto,
  rack,
  tail_probe,
  partial_ack,
  syn_timeout,
  path_mtu,
  window_probe,
};

/// How it was seen that a loss was none.
enum class UndoCause : std::uint8_t {
  none,
  timestamps,  ///< RFC 3522
  dsack,       ///< RFC 3708
  frto,        ///< RFC 5682
};

struct TraceRecord {
  Instant at;
  TraceKind kind = TraceKind::segment_in;
  LossCause cause = LossCause::none;
  DropReason reason = DropReason::none;
  InterfaceId interface = kNoInterface;
  SocketId socket;
  std::uint32_t a = 0, b = 0, c = 0, d = 0, e = 0;
};

/// A ring of records. The stack writes, its owner reads between calls into the stack; when it is
/// full the oldest are overwritten (`written` keeps counting).
struct TraceRing {
  std::span<TraceRecord> slots;
  std::uint64_t written = 0;

  void record(const TraceRecord& r) noexcept {
    if (slots.empty()) return;
    slots[written % slots.size()] = r;
    ++written;
  }
};

std::string_view to_string(LossCause cause) noexcept;
std::string_view to_string(UndoCause cause) noexcept;
std::string_view to_string(TcpState state) noexcept;

}  // namespace tidewire

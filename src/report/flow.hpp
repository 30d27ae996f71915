// What is remembered of one flow of a run.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "base/time.hpp"
#include "core/socket_error.hpp"
#include "core/trace.hpp"
#include "core/types.hpp"

namespace tidewire::report {

inline constexpr std::size_t kLossCauses = static_cast<std::size_t>(LossCause::window_probe) + 1;
inline constexpr std::size_t kUndoCauses = static_cast<std::size_t>(UndoCause::frto) + 1;

/// One direction of a flow, as its sender saw it.
struct FlowDirection {
  std::uint64_t packets = 0;  ///< sent, retransmissions included
  std::uint64_t bytes = 0;    ///< payload sent for the first time
  std::uint64_t retransmitted_packets = 0;
  std::uint64_t retransmitted_bytes = 0;
  std::array<std::uint64_t, kLossCauses> retransmissions{};  ///< by cause
  std::uint64_t spurious_packets = 0;              ///< sent again though the peer had them
  std::array<std::uint64_t, kUndoCauses> undos{};  ///< reductions taken back, by cause
  Duration rtt_min = Duration::max();              ///< max(): never measured
  Duration rtt_smoothed, rtt_max;
  std::uint64_t rtt_samples = 0;
  std::uint64_t marked_packets = 0;  ///< with payload, that arrived with CE
  std::uint32_t cwnd_max = 0;
  Instant first_data, last_data;
};

/// TCP: a connection. UDP, ICMP: the datagrams between two endpoints.
struct FlowRecord {
  std::uint32_t number = 0;  ///< from 1, in order of appearance
  Protocol protocol = Protocol::tcp;
  Endpoint host;        ///< the end inside the run (of two such ends: the one that opened)
  Endpoint remote;      ///< the other end, as the program named it
  bool inside = false;  ///< both ends are in the run: not impaired
  bool inward = false;  ///< opened from outside, through a published port
  std::string program;
  TcpState state = TcpState::closed;  ///< of `host`, the last one seen
  bool established = false;
  EcnMode ecn = EcnMode::off;
  bool aborted = false;  ///< ended by a reset, a time-out or a refusal instead of FINs
  bool ended = false;    ///< closed: the next SYN with these addresses is another flow
  Instant opened, last;
  FlowDirection up;    ///< sent by `host`
  FlowDirection down;  ///< sent by `remote`
};

}  // namespace tidewire::report

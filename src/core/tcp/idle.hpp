// A connection on which nothing moves.
#pragma once

#include <optional>

#include "core/tcp/connection.hpp"

namespace tidewire::tcp {

/// The Stats of a connection that lost nothing and saw nothing strange, in a quarter of the room.
struct QuietStats {
  /// Nothing if a number does not fit, or one that has no place here is not zero. Times are kept as
  /// distances from `base`.
  static std::optional<QuietStats> pack(const Stats& stats, Instant base) noexcept;
  Stats unpack(Instant base) const noexcept;

  std::uint32_t bytes_sent = 0, bytes_received = 0;  ///< what was sent is acknowledged
  std::uint32_t segs_out = 0, segs_in = 0, data_segs_out = 0, data_segs_in = 0;
  std::uint32_t delivery_rate = 0;                                       ///< bytes per second
  std::int32_t last_sent = 0, last_received = 0, last_ack_received = 0;  ///< ns after the base
  Duration busy;
};

/// What does not fit an IdleConnection.
struct IdleRemainder {
  Stats stats;
  RttEstimator rtt;
};

/// Settings that several idle connections have, mostly those of one listener.
struct SharedSettings {
  Settings settings;
  std::uint32_t users = 0;
};

/// ESTABLISHED with empty buffers and nothing in flight: what is needed to go on when a segment, a
/// call or the keepalive timer wakes it. Many connections of a server are like this most of the
/// time.
struct IdleConnection {
  IdleConnection() noexcept : timer(this, static_cast<std::uint32_t>(TimerOwner::idle)) {}

  TimerEntry timer;  ///< keepalive
  Tuple tuple;
  EventSlot events;
  std::uint32_t entry = kNoIndex;  ///< SocketEntry
  BindId bind = 0;
  std::uint32_t settings = kNoIndex;   ///< SharedSettings; none: the configured ones
  std::uint32_t remainder = kNoIndex;  ///< IdleRemainder; none: `stats` and `rtt` say it all
  Instant last_received;
  RttEstimator::Packed rtt;
  QuietStats stats;
  Seq snd_una;
  Seq rcv_nxt;
  Seq rcv_edge;
  std::uint32_t snd_wnd = 0, snd_max_wnd = 0;
  std::uint32_t cwnd = 0, ssthresh = 0;
  std::uint32_t send_limit = 0, receive_limit = 0;  ///< of the rings, as tuned
  std::uint32_t ts_recent = 0;
  std::uint16_t peer_mss = 0, rcv_mss = 0;
  WindowScale snd_scale, rcv_scale;
  std::uint8_t ecn = 0;            ///< Ecn::pack()
  std::uint8_t controller = 0xff;  ///< index of its name; 0xff: the configured one
  bool family_v6 : 1 = false;
  bool bound : 1 = false;
  bool passive : 1 = false;
  bool read_shut : 1 = false;
  bool sack_on : 1 = false;
  bool timestamps_on : 1 = false;
  bool scaling_on : 1 = false;
  bool syn_data_acked : 1 = false;
};
static_assert(sizeof(IdleConnection) <= 240);

}  // namespace tidewire::tcp

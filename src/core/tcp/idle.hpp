// A connection on which nothing moves.
#pragma once

#include "core/tcp/connection.hpp"

namespace tidewire::tcp {

/// ESTABLISHED with empty buffers and nothing in flight: what is needed to go on when a segment, a
/// call or the keepalive timer wakes it. Many connections of a server are like this most of the
/// time.
struct IdleConnection {
  IdleConnection() noexcept : timer(this, static_cast<std::uint32_t>(TimerOwner::idle)) {}

  TimerEntry timer;  ///< keepalive
  Tuple tuple;
  EventSlot events;
  SlabHandle entry;
  BindId bind = 0;
  Settings* settings = nullptr;  ///< null: the configured ones
  Stats* stats = nullptr;
  RttEstimator rtt;
  Instant last_received;
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
static_assert(sizeof(IdleConnection) <= 224);

}  // namespace tidewire::tcp

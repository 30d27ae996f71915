// A view of every socket.
#include <algorithm>

#include "base/clip.hpp"
#include "core/tcp/sockets.hpp"

namespace tidewire::tcp {
namespace {

// Records that were never sockets appear in the walk under ids of their own.
constexpr std::uint32_t kHalfOpens = 1U << 30;
constexpr std::uint32_t kTimeWaits = 2U << 30;
constexpr std::uint32_t kIndexMask = kHalfOpens - 1;

std::string_view limit_of(const Connection& c) noexcept {
  if (!is_synchronized(c.state)) return "handshake";
  if (c.active == nullptr) return "application";
  const Seq end = end_of_data(c);
  if (c.fin_sent || c.snd.nxt == end) {
    return c.snd.una == c.snd.nxt ? "application" : "acknowledgement";
  }
  const std::int32_t usable = Seq::distance(c.snd.nxt, c.snd.una + c.snd.wnd);
  const auto segment =
      static_cast<std::int32_t>(std::min(Shared::eff_mss(c), Seq::span(c.snd.nxt, end)));
  if (usable < segment) return "receiver window";
  if (c.active->cwnd_was_limited) return "cwnd";
  return c.ListNode<ReadyTag>::linked() ? "link" : "nagle";
}

void fill_numbers(SocketInfo& info, const Stats& n, Instant now) noexcept {
  info.bytes_sent = n.bytes_sent;
  info.bytes_acked = n.bytes_acked;
  info.bytes_received = n.bytes_received;
  info.bytes_retransmitted = n.bytes_retransmitted;
  info.segs_out = n.segs_out;
  info.segs_in = n.segs_in;
  info.data_segs_out = n.data_segs_out;
  info.data_segs_in = n.data_segs_in;
  info.retransmits = n.retransmits;
  info.fast_retransmits = n.fast_retransmits;
  info.timeouts = n.timeouts;
  info.lost = n.lost;
  info.spurious = n.spurious;
  info.spurious_retransmits = n.spurious_retransmits;
  info.dsacks = n.dsacks;
  info.reordering = n.reordering;
  info.reordering_seen = n.reordering_seen;
  info.ce_received = n.ce_received;
  info.ecn_reductions = n.ecn_reductions;
  info.ce_reported = n.ce_reported;
  info.delivery_rate = n.delivery_rate;
  info.last_sent = n.last_sent;
  info.last_received = n.last_received;
  info.last_ack_received = n.last_ack_received;
  info.busy = n.times.busy(now);
  info.window_limited = n.times.peer_window(now);
  info.buffer_limited = n.times.send_buffer(now);
}

}  // namespace

SocketInfo Sockets::info(const Connection& c) const noexcept {
  SocketInfo info;
  info.id = s.id_of(c);
  info.state = c.state;
  info.local = {shown(c, c.tuple.local_address()), c.tuple.local_port, 0};
  info.remote = {shown(c, c.tuple.remote_address()), c.tuple.remote_port, 0};
  info.owned = c.owned;
  fill_numbers(info, c.stats, s.now());
  info.max_pacing_rate = c.settings.max_pacing_rate;
  info.congestion_control = c.controller.empty() ? s.controller_name : c.controller;
  if (c.listener != nullptr) {
    info.receive_queue = c.listener->ready;
    info.send_queue = c.listener->backlog;
    return info;
  }
  info.mss = Shared::eff_mss(c);
  info.receive_mss = c.rcv.mss;
  info.srtt = c.rtt.srtt();
  info.rttvar = c.rtt.rttvar();
  info.rto = c.rtt.rto(s.rtt_config());
  info.min_rtt = c.rtt.min_rtt();
  info.send_window = c.snd.wnd;
  info.receive_window = c.rcv.window.usable(c.rcv.nxt);
  info.send_scale = c.snd.scale.shift();
  info.receive_scale = c.rcv.scale.shift();
  info.timestamps = c.timestamps_on;
  info.sack = c.sack_on;
  info.window_scaling = c.scaling_on;
  info.syn_data = c.syn_data_acked;
  info.fast_open_failure = c.fast_open_failure;
  info.ecn = c.ecn.mode();
  info.ecn_seen = c.ecn.seen();
  info.backoff = c.retries;
  info.probes = c.probes;
  info.limited_by = limit_of(c);
  if (is_synchronized(c.state)) {
    info.path_mtu = s.out.path_mtu(c.tuple.remote_address(), c.settings.bound);
  }
  if (c.active == nullptr) return info;
  const Active& a = *c.active;
  info.receive_queue = clip(a.rcv_ring.size());
  info.send_queue = clip(a.snd_ring.size());
  info.receive_buffer = clip(a.rcv_ring.limit());
  info.send_buffer = clip(a.snd_ring.limit());
  info.receive_memory = clip(a.rcv_ring.memory_used());
  info.send_memory = clip(a.snd_ring.memory_used());
  // After a reset the ring is empty, whatever was in flight.
  const std::int32_t unsent = c.fin_sent ? 0 : Seq::distance(c.snd.nxt, end_of_data(c));
  info.send_unsent = static_cast<std::uint32_t>(std::max(unsent, 0));
  info.cwnd = clip(a.cc.window());
  info.ssthresh = clip(a.cc.ssthresh());
  info.in_flight = clip(a.recovery.in_flight());
  info.sacked = clip(a.recovery.scoreboard().sacked() / std::max(1U, Shared::eff_mss(c)));
  const std::uint64_t rate = Shared::pacing_rate(c);
  info.pacing_rate = rate == kNoLimit ? 0 : rate;
  info.in_recovery = a.recovery.in_recovery();
  info.disorder = a.recovery.phase() == RecoveryPhase::disorder;
  info.timed_out = a.recovery.phase() == RecoveryPhase::loss;
  const Scoreboard& board = a.recovery.scoreboard();
  info.outstanding = clip(board.outstanding());
  info.deemed_lost = clip(board.lost());
  info.sent_again = clip(board.sent_again());
  info.delivered = a.recovery.delivery_rate().delivered();
  info.reduced_by_marks =
      c.ecn.on() && c.ecn.reduced(c.snd.una) && a.recovery.phase() < RecoveryPhase::recovery;
  return info;
}

SocketInfo Sockets::info(const SocketEntry& entry) noexcept {
  std::optional<Connection> copy;
  SocketInfo result = info(*s.peek(entry, copy));
  if (entry.record.kind == FlowKind::idle) {
    const IdleConnection& idle = *s.idles.at_index(entry.record.index);
    result.cwnd = idle.cwnd;
    result.ssthresh = idle.ssthresh;
  }
  return result;
}

std::optional<SocketInfo> Sockets::info(SocketId id) noexcept {
  std::optional<Connection> copy;
  if (s.peek(id, copy) == nullptr) return std::nullopt;
  return info(*s.entries.get({id.index, id.generation}));
}

std::optional<SocketInfo> Sockets::next_socket(SocketId after) noexcept {
  std::uint32_t table = 0;
  std::uint32_t at = 0;
  if (after) {
    table = after.index & ~kIndexMask;
    at = (after.index & kIndexMask) + 1;
  }
  if (table == 0) {
    for (; at < s.entries.slots(); ++at) {
      const SocketEntry* entry = s.entries.at_index(at);
      if (entry == nullptr) continue;
      return info(*entry);
    }
    table = kHalfOpens;
    at = 0;
  }
  if (table == kHalfOpens) {
    for (; at < s.half_opens.slots(); ++at) {
      const HalfOpen* h = s.half_opens.at_index(at);
      if (h == nullptr || h->held) continue;
      SocketInfo info;
      info.id = {SocketKind::tcp, at | kHalfOpens, s.half_opens.handle_of(*h).generation};
      info.state = TcpState::syn_received;
      info.local = {h->tuple.local_address(), h->tuple.local_port, 0};
      info.remote = {h->tuple.remote_address(), h->tuple.remote_port, 0};
      info.backoff = h->retries;
      return info;
    }
    at = 0;
  }
  for (; at < s.time_waits.slots(); ++at) {
    const TimeWait* tw = s.time_waits.at_index(at);
    if (tw == nullptr) continue;
    SocketInfo info;
    info.id = {SocketKind::tcp, at | kTimeWaits, s.time_waits.handle_of(*tw).generation};
    info.state = TcpState::time_wait;
    info.local = {tw->tuple.local_address(), tw->tuple.local_port, 0};
    info.remote = {tw->tuple.remote_address(), tw->tuple.remote_port, 0};
    return info;
  }
  return std::nullopt;
}

}  // namespace tidewire::tcp

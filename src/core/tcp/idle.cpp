// Putting quiet connections into small records, and waking them.
#include "core/tcp/idle.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/clip.hpp"
#include "core/tcp/shared.hpp"

namespace tidewire::tcp {

Connection* Shared::make_connection() noexcept {
  SocketEntry* entry = entries.acquire();
  if (entry == nullptr) return nullptr;
  Connection* c = connections.acquire();
  if (c == nullptr) {
    entries.release(*entry);
    return nullptr;
  }
  entry->record = {FlowKind::connection, connections.index_of(*c)};
  c->entry = entries.handle_of(*entry);
  return c;
}

void Shared::release_connection(Connection& c) noexcept {
  wheel.cancel(c.timer);
  ReadyQueue::remove(c);
  if (c.active != nullptr) actives.release(*c.active);
  if (c.error_info != nullptr) error_infos.release(*c.error_info);
  if (c.fast_open_keys != nullptr) fast_open_keys.release(*c.fast_open_keys);
  if (c.fast_open_pending) fast_open_over(c, false);
  drop_syn_text(c);
  if (recent_ == &c) recent_ = nullptr;
  connections.release(c);
}

bool Shared::is_quiet(const Connection& c) const noexcept {
  if (c.state != TcpState::established || !c.owned || c.active == nullptr) return false;
  const Active& a = *c.active;
  return c.snd.una == c.snd.nxt && a.snd_ring.empty() && a.rcv_ring.empty() &&
         a.rcv_ring.islands().empty() && !a.more && a.dsack_count == 0 && !c.ack.owed_now() &&
         !c.ack.delayed() && !c.urgent_in && !c.urgent_out && !c.fin_queued && !c.fin_pending &&
         c.probes == 0 && !c.owe_user_timeout && c.peer_user_timeout == 0 && !c.mtu.on() &&
         !c.ecn.accurate() && c.error == SocketError::none && c.error_info == nullptr &&
         c.soft_error == SocketError::none && !c.ListNode<ReadyTag>::linked();
}

bool Shared::rest(Connection& c) noexcept {
  if (!is_quiet(c)) return false;
  const Instant active_until = later(c.last_received, c.stats.last_sent);
  if (now() < active_until + kRestAfter) {
    arm(c, TimerKind::rest, active_until + kRestAfter);
    return false;
  }
  IdleConnection* idle = idles.acquire();
  if (idle == nullptr) return false;
  if (!keep_settings(c, *idle)) return idles.release(*idle), false;
  if (!keep_history(c, *idle)) {
    drop_settings(*idle);
    return idles.release(*idle), false;
  }
  pack(c, *idle);
  const FlowRef small{FlowKind::idle, idles.index_of(*idle)};
  flows.replace(hash_of(c.tuple), {FlowKind::connection, connections.index_of(c)}, small);
  entries.get(c.entry)->record = small;
  if (armed(c, TimerKind::keepalive)) {
    wheel.schedule(idle->timer, deadline(c, TimerKind::keepalive));
  }
  release_connection(c);
  return true;
}

std::optional<QuietStats> QuietStats::pack(const Stats& stats, Instant base) noexcept {
  const auto busy = stats.times.only_busy();
  if (!busy) return std::nullopt;
  QuietStats q;
  bool fits = true;
  const auto narrow = [&fits](auto value, auto& out) {
    out = static_cast<std::remove_reference_t<decltype(out)>>(value);
    fits = fits && std::cmp_equal(value, out);
  };
  narrow(stats.bytes_sent, q.bytes_sent);
  narrow(stats.bytes_received, q.bytes_received);
  narrow(stats.segs_out, q.segs_out);
  narrow(stats.segs_in, q.segs_in);
  narrow(stats.data_segs_out, q.data_segs_out);
  narrow(stats.data_segs_in, q.data_segs_in);
  narrow(stats.delivery_rate, q.delivery_rate);
  narrow((stats.last_sent - base).count_nanos(), q.last_sent);
  narrow((stats.last_received - base).count_nanos(), q.last_received);
  narrow((stats.last_ack_received - base).count_nanos(), q.last_ack_received);
  q.busy = *busy;
  // Whatever else there may be to tell is zero, or it does not fit.
  if (!fits || !(q.unpack(base) == stats)) return std::nullopt;
  return q;
}

Stats QuietStats::unpack(Instant base) const noexcept {
  Stats stats;
  stats.bytes_sent = stats.bytes_acked = bytes_sent;
  stats.bytes_received = bytes_received;
  stats.segs_out = segs_out;
  stats.segs_in = segs_in;
  stats.data_segs_out = data_segs_out;
  stats.data_segs_in = data_segs_in;
  stats.delivery_rate = delivery_rate;
  stats.last_sent = base + Duration::nanos(last_sent);
  stats.last_received = base + Duration::nanos(last_received);
  stats.last_ack_received = base + Duration::nanos(last_ack_received);
  stats.times = SendTimes::after(busy);
  return stats;
}

bool Shared::keep_history(const Connection& c, IdleConnection& idle) noexcept {
  const auto stats = QuietStats::pack(c.stats, c.last_received);
  const auto rtt = c.rtt.pack();
  if (stats && rtt) {
    idle.stats = *stats;
    idle.rtt = *rtt;
    return true;
  }
  const IdleRemainder* remainder = remainders.acquire(IdleRemainder{c.stats, c.rtt});
  if (remainder == nullptr) return false;
  idle.remainder = remainders.index_of(*remainder);
  return true;
}

/// A server's connections mostly have the same: the last ones that were kept are looked at first.
bool Shared::keep_settings(const Connection& c, IdleConnection& idle) noexcept {
  if (c.settings == Settings::from(config())) return true;
  SharedSettings* kept = shared_settings.get(recent_settings_);
  if (kept == nullptr || !(kept->settings == c.settings)) {
    kept = shared_settings.acquire(SharedSettings{c.settings});
    if (kept == nullptr) return false;
    recent_settings_ = shared_settings.handle_of(*kept);
  }
  ++kept->users;
  idle.settings = shared_settings.index_of(*kept);
  return true;
}

void Shared::drop_settings(const IdleConnection& idle) noexcept {
  SharedSettings* kept = shared_settings.at_index(idle.settings);
  if (kept != nullptr && --kept->users == 0) shared_settings.release(*kept);
}

void Shared::pack(const Connection& c, IdleConnection& idle) const noexcept {
  idle.tuple = c.tuple;
  idle.events = c.events;
  idle.entry = c.entry.index;
  idle.bind = c.bind;
  idle.last_received = c.last_received;
  idle.snd_una = c.snd.una;
  idle.rcv_nxt = c.rcv.nxt;
  idle.rcv_edge = c.rcv.window.edge();
  idle.snd_wnd = c.snd.wnd;
  idle.snd_max_wnd = c.snd.max_wnd;
  idle.cwnd = clip(c.active->cc.window());
  idle.ssthresh = clip(c.active->cc.ssthresh());
  idle.send_limit = clip(c.active->snd_ring.limit());
  idle.receive_limit = clip(c.active->rcv_ring.limit());
  idle.ts_recent = c.timestamps.recent();
  idle.peer_mss = c.snd.peer_mss;
  idle.rcv_mss = c.rcv.mss;
  idle.snd_scale = c.snd.scale;
  idle.rcv_scale = c.rcv.scale;
  const auto names = controllers.names();
  const auto name = std::ranges::find(names, c.controller);
  if (name != names.end()) idle.controller = static_cast<std::uint8_t>(name - names.begin());
  idle.family_v6 = c.family_v6;
  idle.bound = c.bound;
  idle.passive = c.passive;
  idle.read_shut = c.read_shut;
  idle.sack_on = c.sack_on;
  idle.timestamps_on = c.timestamps_on;
  idle.scaling_on = c.scaling_on;
  idle.ecn = c.ecn.pack();
  idle.syn_data_acked = c.syn_data_acked;
}

void Shared::unpack(const IdleConnection& idle, Connection& c) noexcept {
  c.state = TcpState::established;
  c.owned = c.connected = c.syn_acked = c.syn_sent_once = true;
  c.tuple = idle.tuple;
  c.events = idle.events;
  c.entry = entries.handle_of(*entries.at_index(idle.entry));
  c.bind = idle.bind;
  const SharedSettings* kept = shared_settings.at_index(idle.settings);
  c.settings = kept != nullptr ? kept->settings : Settings::from(config());
  if (const IdleRemainder* remainder = remainders.at_index(idle.remainder)) {
    c.stats = remainder->stats;
    c.rtt = remainder->rtt;
  } else {
    c.stats = idle.stats.unpack(idle.last_received);
    c.rtt = RttEstimator::unpack(idle.rtt);
  }
  c.last_received = idle.last_received;
  c.snd.una = c.snd.nxt = c.snd.wl2 = idle.snd_una;
  c.snd.iss = idle.snd_una - 1;  // where the numbers of the new buffers begin
  c.rcv.nxt = c.rcv.last_ack_sent = c.snd.wl1 = idle.rcv_nxt;
  c.rcv.irs = idle.rcv_nxt - 1;
  c.rcv.window = ReceiveWindow{idle.rcv_edge};
  c.snd.wnd = idle.snd_wnd;
  c.snd.max_wnd = idle.snd_max_wnd;
  c.snd.peer_mss = idle.peer_mss;
  c.snd.mss = std::min(idle.peer_mss, path_mss(idle.tuple, c.settings.bound));
  if (c.settings.max_segment != 0) c.snd.mss = std::min(c.snd.mss, c.settings.max_segment);
  c.rcv.mss = idle.rcv_mss;
  c.snd.scale = idle.snd_scale;
  c.rcv.scale = idle.rcv_scale;
  if (idle.controller != 0xff) c.controller = controllers.names()[idle.controller];
  c.family_v6 = idle.family_v6;
  c.bound = idle.bound;
  c.passive = idle.passive;
  c.read_shut = idle.read_shut;
  c.sack_on = idle.sack_on;
  c.timestamps_on = idle.timestamps_on;
  c.scaling_on = idle.scaling_on;
  c.ecn.unpack(idle.ecn);
  c.syn_data_acked = idle.syn_data_acked;
  if (c.timestamps_on) {
    c.timestamps = Timestamps{timestamp_offset(c.tuple)};
    c.timestamps.start(idle.ts_recent, idle.last_received);
  }
}

Connection* Shared::wake(IdleConnection& idle) noexcept {
  Connection* c = connections.acquire();
  if (c == nullptr) return nullptr;
  unpack(idle, *c);
  if (!attach_active(*c, idle.cwnd, idle.ssthresh)) {
    connections.release(*c);
    return nullptr;
  }
  c->active->snd_ring.set_limit(idle.send_limit);
  c->active->rcv_ring.set_limit(idle.receive_limit);
  c->active->idle_since = c->stats.last_sent;
  c->in_table = true;
  const FlowRef big{FlowKind::connection, connections.index_of(*c)};
  flows.replace(hash_of(c->tuple), {FlowKind::idle, idles.index_of(idle)}, big);
  entries.get(c->entry)->record = big;
  if (idle.timer.armed()) arm(*c, TimerKind::keepalive, idle.timer.deadline);
  wheel.cancel(idle.timer);
  if (IdleRemainder* remainder = remainders.at_index(idle.remainder)) {
    remainders.release(*remainder);
  }
  drop_settings(idle);
  idles.release(idle);
  // Looked at again even if nothing comes of what woke it.
  arm(*c, TimerKind::rest, now() + kRestAfter);
  return c;
}

Connection* Shared::search(SocketId id) noexcept {
  if (id.kind != SocketKind::tcp) return nullptr;
  const SocketEntry* entry = entries.get({id.index, id.generation});
  if (entry == nullptr) return nullptr;
  if (entry->record.kind == FlowKind::idle) return wake(*idles.at_index(entry->record.index));
  Connection* c = connections.at_index(entry->record.index);
  if (!c->owned) return nullptr;
  return recent_ = c;
}

const Connection* Shared::peek(SocketId id, std::optional<Connection>& copy) noexcept {
  if (id.kind != SocketKind::tcp) return nullptr;
  const SocketEntry* entry = entries.get({id.index, id.generation});
  if (entry == nullptr) return nullptr;
  const Connection* c = peek(*entry, copy);
  return c->owned ? c : nullptr;
}

std::uint16_t Shared::report(SocketId id) noexcept {
  if (recent_ != nullptr && recent_->entry == SlabHandle{id.index, id.generation}) {
    return report(*recent_);
  }
  const SocketEntry* entry = entries.get({id.index, id.generation});
  if (entry == nullptr) return 0;
  if (entry->record.kind == FlowKind::idle) return report(*idles.at_index(entry->record.index));
  return report(*connections.at_index(entry->record.index));
}

std::uint16_t Shared::report(Connection& c) noexcept {
  if (!c.owned) return 0;
  c.events.queued = false;
  return c.events.reported = bits(c);
}

std::uint16_t Shared::report(IdleConnection& idle) noexcept {
  Connection copy;
  unpack(idle, copy);
  idle.events.queued = false;
  return idle.events.reported = bits(copy);
}

const Connection* Shared::peek(const SocketEntry& entry, std::optional<Connection>& copy) noexcept {
  if (entry.record.kind != FlowKind::idle) return connections.at_index(entry.record.index);
  unpack(*idles.at_index(entry.record.index), copy.emplace());
  return &*copy;
}

}  // namespace tidewire::tcp

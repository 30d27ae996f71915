#include "core/tcp/shared.hpp"

#include <algorithm>

namespace tidewire::tcp {
namespace {
constexpr std::uint32_t kV4Headers = 40;
constexpr std::uint32_t kV6Headers = 60;
constexpr std::uint32_t kLeastMss = 88;
}  // namespace

std::uint64_t ListenHash::operator()(const RandomSeed& seed, const ListenKey& key) const noexcept {
  std::array<std::uint64_t, 2> words{};
  std::memcpy(words.data(), key.address.data(), 16);
  return siphash13(seed, words[0], words[1], key.port, 3);
}

Shared::Shared(Context& context, ip::Output& output, PortRegistry& port_registry) noexcept
    : ctx(context),
      out(output),
      ports(port_registry),
      pool(context.memory, context.config.tcp.buffer_memory_max),
      entries(context.memory, context.config.sockets_max),
      connections(context.memory),
      idles(context.memory),
      shared_settings(context.memory),
      remainders(context.memory),
      actives(context.memory),
      listeners(context.memory),
      half_opens(context.memory),
      time_waits(context.memory, context.config.tcp.time_wait_max),
      error_infos(context.memory),
      fast_open_keys(context.memory),
      syn_rings(context.memory),
      flows(context.memory),
      listen_table(context.memory,
                   derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::socket_table))),
      wheel(TimerWheel::kFine, context.now),
      controller_name(context.config.tcp.congestion_control),
      syn_cookies(derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::syn_cookie))),
      fast_open(context),
      flow_hash_(derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::flow_table))),
      secret_hash_(derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::tuple_secret))) {}

FlowRef Shared::search(const Tuple& tuple) noexcept {
  const FlowRef found = flows.find(hash_of(tuple), [&](FlowRef ref) noexcept {
    switch (ref.kind) {
      case FlowKind::connection:
        return connections.at_index(ref.index)->tuple == tuple;
      case FlowKind::idle:
        return idles.at_index(ref.index)->tuple == tuple;
      case FlowKind::half_open:
        return half_opens.at_index(ref.index)->tuple == tuple;
      case FlowKind::time_wait:
        return time_waits.at_index(ref.index)->tuple == tuple;
      case FlowKind::none:
        break;
    }
    return false;
  });
  if (found.kind == FlowKind::connection) recent_ = connections.at_index(found.index);
  return found;
}

bool Shared::add_flow(Connection& c) noexcept {
  c.in_table = flows.insert(hash_of(c.tuple), {FlowKind::connection, connections.index_of(c)});
  return c.in_table;
}

void Shared::remove_flow(Connection& c) noexcept {
  if (!c.in_table) return;
  flows.erase(hash_of(c.tuple), {FlowKind::connection, connections.index_of(c)});
  c.in_table = false;
}

Seq Shared::make_isn(const Tuple& tuple) const noexcept {
  // M ticks every 4 microseconds.
  const auto m = static_cast<std::uint32_t>(ctx.now.nanos() / 4'000);
  return Seq{m + static_cast<std::uint32_t>(secret_hash_(tuple))};
}

std::uint32_t Shared::timestamp_offset(const Tuple& tuple) const noexcept {
  return static_cast<std::uint32_t>(secret_hash_(tuple) >> 32);
}

void Shared::disarm_all(Connection& c) noexcept {
  c.deadlines.fill(Instant::never());
  wheel.cancel(c.timer);
}

void Shared::set_state(Connection& c, TcpState state) noexcept {
  if (c.state == state) return;
  if (tracing()) [[unlikely]] {
    TraceRecord record = trace_record(TraceKind::state, c);
    record.a = static_cast<std::uint32_t>(c.state);
    record.b = static_cast<std::uint32_t>(state);
    trace(record);
  }
  c.state = state;
}

bool Shared::attach_active(Connection& c, std::uint64_t cwnd, std::uint64_t ssthresh) noexcept {
  if (c.active != nullptr) return true;
  const std::uint32_t mss = eff_mss(c);
  const ControllerConfig cc = controller_config(c, cwnd, ssthresh);
  auto controller = controllers.make(c.controller.empty() ? controller_name : c.controller, cc);
  if (!controller) controller = controllers.make(ControllerRegistry::kDefault, cc);
  if (!controller) return false;
  const RecoveryConfig recovery{.sack = c.sack_on,
                                .rack = config().rack,
                                .undo = config().undo,
                                .frto = config().frto,
                                .prediction = config().prediction,
                                .mss = mss,
                                .rtt = rtt_config()};
  // Text that went with the SYN may be acknowledged already.
  const Seq start = c.snd.una == c.snd.iss ? c.snd.iss + 1 : c.snd.una;
  c.active = actives.acquire(pool, ctx.memory, recovery, *controller, start, c.rcv.irs + 1,
                             c.settings.send_buffer, c.settings.receive_buffer, now());
  if (c.active == nullptr) return false;
  c.active->rcv_ring.set_most_islands(config().out_of_order_max);
  c.active->idle_since = now();
  update_pacing(c);
  c.active->flight_until = c.active->small_end = start;
  // What came last before any data was the handshake.
  if (c.stats.last_received == Instant{}) {
    c.stats.last_received = c.stats.last_ack_received = c.stats.last_sent = now();
  }
  return true;
}

void Shared::enter_closed(Connection& c, SocketError error) noexcept {
  const bool was_trying =
      c.state == TcpState::syn_sent || (c.state == TcpState::syn_received && !c.connected);
  if (was_trying) ++ctx.counters.tcp_attempt_fails;
  if (c.fast_open_pending) fast_open_over(c, error == SocketError::connection_reset);
  stray_over(c);
  if (!c.connected) c.accept_by = kNoIndex;  // it never came into the queue
  drop_syn_text(c);
  c.syn_deferred = false;
  set_state(c, TcpState::closed);
  disarm_all(c);
  remove_flow(c);
  if (error != SocketError::none) c.error = error;
  c.owe_syn = c.owe_probe = c.owe_keepalive = false;
  if (!c.owe_rst) ReadyQueue::remove(c);
  if (c.active != nullptr) {
    c.active->snd_ring.clear();
    (void)c.active->rcv_ring.shed_out_of_order();
    if ((!c.owned && c.accept_by == kNoIndex) || c.active->rcv_ring.empty()) {
      actives.release(*c.active);
      c.active = nullptr;
    }
  }
  if (c.bind != 0 && (!c.bound || !c.owned)) {
    ports.release(c.bind);
    c.bind = 0;
  }
  update_events(c);
}

void Shared::reset_peer(Connection& c, SocketError error) noexcept {
  const bool tell = c.state != TcpState::closed && c.state != TcpState::listen &&
                    c.state != TcpState::syn_sent && c.state != TcpState::time_wait;
  c.owe_rst = tell;
  enter_closed(c, error);
  if (tell) mark_ready(c);
}

bool Shared::reap(Connection& c) noexcept {
  if (c.state != TcpState::closed || c.owned || c.owe_rst || c.accept_by != kNoIndex) return false;
  remove_flow(c);
  if (c.bind != 0) ports.release(c.bind);
  entries.release(*entries.get(c.entry));
  release_connection(c);
  return true;
}

TraceRecord Shared::trace_record(TraceKind kind, const Connection& c) const noexcept {
  TraceRecord record;
  record.at = ctx.now;
  record.kind = kind;
  record.interface = c.path.interface;
  record.socket = id_of(c);
  return record;
}

void Shared::trace_segment(TraceKind kind, const Connection* c, Seq seq, Seq ack,
                           std::uint32_t bytes, wire::TcpFlags flags,
                           std::uint32_t window) noexcept {
  TraceRecord record;
  record.at = ctx.now;
  record.kind = kind;
  if (c != nullptr) {
    record.interface = c->path.interface;
    record.socket = id_of(*c);
  }
  record.a = seq.value();
  record.b = ack.value();
  record.c = bytes;
  record.d = flags.bits();
  record.e = window;
  trace(record);
}

void Shared::trace_ecn(const Connection& c, std::uint32_t marked) noexcept {
  if (!tracing()) return;
  TraceRecord record = trace_record(TraceKind::ecn, c);
  record.a = static_cast<std::uint32_t>(c.ecn.mode());
  record.b = marked;
  trace(record);
}

std::uint16_t Shared::mss_for(const Tuple& tuple, std::uint32_t mtu) noexcept {
  const std::uint32_t headers = tuple.is_v4() ? kV4Headers : kV6Headers;
  return static_cast<std::uint16_t>(
      std::clamp(mtu > headers ? mtu - headers : 0U, kLeastMss, 65535U - headers));
}

std::uint16_t Shared::path_mss(const Tuple& tuple, InterfaceId bound) const noexcept {
  return mss_for(tuple, out.path_mtu(tuple.remote_address(), bound));
}

//= RFC 9293 §3.7.1 MUST-67; RFC 1191 §3.1
// What the interface takes, whatever the path to the peer carries.
std::uint16_t Shared::advertised_mss(const Tuple& tuple, const Settings& settings) const noexcept {
  std::uint16_t mss = mss_for(tuple, out.interface_mtu(tuple.remote_address(), settings.bound));
  if (settings.max_segment != 0) mss = std::min(mss, settings.max_segment);
  return mss;
}

WindowScale Shared::offered_scale(const Settings& settings) const noexcept {
  if (settings.receive_buffer_set) return WindowScale::for_buffer(settings.receive_buffer);
  return WindowScale::for_buffer(std::max(config().receive_buffer_max, settings.receive_buffer));
}

OptionPolicy Shared::option_policy(const Tuple& tuple, const Settings& settings) const noexcept {
  return {.timestamps = config().timestamps,
          .sack = config().sack,
          .window_scaling = config().window_scaling,
          .window_scale = offered_scale(settings),
          .mss = advertised_mss(tuple, settings)};
}

wire::TcpRepr Shared::syn_ack(const PeerSyn& syn, const Settings& settings) const noexcept {
  const OptionPolicy policy = option_policy(syn.tuple, settings);
  wire::TcpRepr repr;
  repr.source_port = syn.tuple.local_port;
  repr.destination_port = syn.tuple.remote_port;
  repr.seq = syn.iss;
  repr.ack = syn.irs + 1;
  repr.flags = wire::TcpFlag::syn | wire::TcpFlag::ack | ecn_syn_ack_flags(syn.ecn());
  repr.window = static_cast<std::uint16_t>(
      std::min({settings.receive_buffer, settings.window_clamp, std::uint32_t{0xffff}}));
  repr.options.mss = policy.mss;
  if (policy.window_scaling && syn.has_shift) {
    repr.options.window_scale = policy.window_scale.shift();
  }
  repr.options.sack_permitted = policy.sack && syn.sack;
  if (policy.timestamps && syn.timestamps) {
    const Timestamps clock{timestamp_offset(syn.tuple)};
    repr.options.timestamps = wire::TcpTimestamps{clock.value(now()), syn.tsval};
  }
  if (settings.user_timeout_option) repr.options.user_timeout = user_timeout_advice(settings);
  return repr;
}

//= RFC 9293 §3.7.1 MUST-15 MUST-16
void Shared::apply_options(Connection& c, const SynOptions& theirs) noexcept {
  const OptionPolicy ours = option_policy(c.tuple, c.settings);
  const std::uint16_t fallback = c.tuple.is_v4() ? 536 : 1220;
  const Negotiated n =
      negotiate(ours, theirs, path_mss(c.tuple, c.settings.bound), fallback, kLeastMss);
  c.timestamps_on = n.timestamps;
  c.sack_on = n.sack;
  c.scaling_on = n.scaling;
  c.snd.scale = n.snd_scale;
  c.rcv.scale = n.rcv_scale;
  c.rcv.mss = ours.mss;
  c.snd.peer_mss =
      static_cast<std::uint16_t>(std::max<std::uint32_t>(theirs.mss.value_or(fallback), kLeastMss));
  c.snd.mss = n.snd_mss;
  if (c.settings.max_segment != 0) c.snd.mss = std::min(c.snd.mss, c.settings.max_segment);
  if (n.timestamps) {
    c.timestamps = Timestamps{timestamp_offset(c.tuple)};
    c.timestamps.start(*theirs.tsval, now());
  }
  start_mtu_search(c);
}

bool Shared::refresh_mss(Connection& c) noexcept {
  std::uint16_t mss = largest_mss(c);
  if (c.mtu.on()) mss = std::min(mss, c.mtu.limit());
  if (mss == c.snd.mss) return false;
  c.snd.mss = mss;
  if (c.active != nullptr) {
    c.active->recovery.set_mss(eff_mss(c));
    c.active->cc.on_mss(eff_mss(c));
  }
  return true;
}

}  // namespace tidewire::tcp

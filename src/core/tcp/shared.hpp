// What all parts of TCP work on: records, tables, timers, and the few operations on them.
#pragma once

#include <cstdint>
#include <optional>

#include "base/chunk_pool.hpp"
#include "base/flat_map.hpp"
#include "base/slab.hpp"
#include "base/timer_wheel.hpp"
#include "core/context.hpp"
#include "core/ip/output.hpp"
#include "core/ip/packet.hpp"
#include "core/ports.hpp"
#include "core/tcp/cc/registry.hpp"
#include "core/tcp/connection.hpp"
#include "core/tcp/flow_table.hpp"
#include "core/tcp/idle.hpp"
#include "core/tcp/input/syn_cookies.hpp"
#include "core/tcp/output/ready_queue.hpp"
#include "core/tcp/segment.hpp"

namespace tidewire::tcp {

struct ListenKey {
  std::array<std::uint8_t, 16> address{};
  std::uint16_t port = 0;
  friend bool operator==(const ListenKey&, const ListenKey&) noexcept = default;
};
struct ListenHash {
  std::uint64_t operator()(const RandomSeed& seed, const ListenKey& key) const noexcept;
};

/// Sequence number of the FIN: one past all data written.
inline Seq end_of_data(const Connection& c) noexcept {
  const Seq base = c.syn_acked ? c.snd.una : c.snd.iss + 1;
  if (c.fin_acked) return c.snd.una - 1;
  return base + (c.active != nullptr ? static_cast<std::uint32_t>(c.active->snd_ring.size()) : 0U);
}

class Shared {
 public:
  Shared(Context& context, ip::Output& output, PortRegistry& port_registry) noexcept;

  /// How long a held SYN waits for forward_accept.
  static constexpr Duration kHeldFlowTime = Duration::seconds(60);

  Context& ctx;
  ip::Output& out;
  PortRegistry& ports;
  ChunkPool pool;
  Slab<SocketEntry> entries;
  Slab<Connection> connections;
  Slab<IdleConnection> idles;
  Slab<SharedSettings> shared_settings;  ///< of idle connections
  Slab<IdleRemainder> remainders;        ///< of idle connections
  Slab<Active> actives;
  Slab<Listener> listeners;
  Slab<HalfOpen> half_opens;
  Slab<TimeWait> time_waits;
  Slab<SocketErrorInfo> error_infos;
  Slab<FastOpenKeys> fast_open_keys;
  Slab<SendRing> syn_rings;
  FlowTable flows;
  FlatMap<ListenKey, std::uint32_t, ListenHash> listen_table;
  TimerWheel wheel;
  ReadyQueue ready;
  List<HalfOpen, ReadyTag> half_ready;    ///< SYN-ACKs to send
  List<HalfOpen, ReadyTag> half_waiting;  ///< for a device or a neighbor
  ControllerRegistry controllers;
  std::string_view controller_name;
  SynCookies syn_cookies;
  FastOpen fast_open;
  std::uint32_t held_flows = 0;
  std::uint32_t time_wait_first = kNoIndex, time_wait_last = kNoIndex;

  const TcpConfig& config() const noexcept { return ctx.config.tcp; }
  Instant now() const noexcept { return ctx.now; }
  RttConfig rtt_config() const noexcept {
    return {config().rto_initial, config().rto_min, config().rto_max};
  }

  // --- names ---
  SocketId id_of(const Connection& c) const noexcept {
    return {SocketKind::tcp, c.entry.index, c.entry.generation};
  }
  /// The socket an application may use, awake; null if the id is stale (or no memory to wake it).
  Connection* find(SocketId id) noexcept {
    Connection* const c = recent_;
    const SlabHandle entry{id.index, id.generation};
    if (c != nullptr && c->entry == entry && c->owned && id.kind == SocketKind::tcp) return c;
    return search(id);
  }
  /// The same without waking it, for questions: an idle one is written into `copy` (which has no
  /// Active).
  const Connection* peek(SocketId id, std::optional<Connection>& copy) noexcept;
  const Connection* peek(const SocketEntry& entry, std::optional<Connection>& copy) noexcept;

  // --- the flow table ---
  std::uint64_t hash_of(const Tuple& tuple) const noexcept { return flow_hash_(tuple); }
  /// Nothing is hashed where the connection is that of the last lookup, as in a train of segments
  /// or a conversation.
  FlowRef lookup(const Tuple& tuple) noexcept {
    if (const Connection* c = recent(tuple)) {
      return {FlowKind::connection, connections.index_of(*c)};
    }
    return search(tuple);
  }
  /// The connection that a packet with these ports is for; null if it is for something else.
  Connection* connection_of(const ip::Packet& packet, std::uint16_t local_port,
                            std::uint16_t remote_port) noexcept {
    if (recent_ != nullptr && recent_->in_table &&
        recent_->tuple.is(packet.destination, local_port, packet.source, remote_port)) {
      return recent_;
    }
    const FlowRef found =
        search(Tuple::of(packet.destination, local_port, packet.source, remote_port));
    return found.kind == FlowKind::connection ? recent_ : nullptr;
  }
  [[nodiscard]] bool add_flow(Connection& c) noexcept;
  void remove_flow(Connection& c) noexcept;

  // --- secrets ---
  //= RFC 6528 §3; RFC 9293 §3.4.1 MUST-8 MUST-9
  Seq make_isn(const Tuple& tuple) const noexcept;
  std::uint32_t timestamp_offset(const Tuple& tuple) const noexcept;

  // --- timers ---
  void arm(Connection& c, TimerKind kind, Instant at) noexcept {
    c.deadlines[static_cast<std::size_t>(kind)] = at;
    // The wheel's entry may be early: on_timeout finds nothing due and arms it again.
    if (!c.timer.armed() || at < c.timer.deadline) wheel.schedule(c.timer, at);
  }
  static void disarm(Connection& c, TimerKind kind) noexcept {
    c.deadlines[static_cast<std::size_t>(kind)] = Instant::never();
  }
  static bool armed(const Connection& c, TimerKind kind) noexcept {
    return !c.deadlines[static_cast<std::size_t>(kind)].is_never();
  }
  static Instant deadline(const Connection& c, TimerKind kind) noexcept {
    return c.deadlines[static_cast<std::size_t>(kind)];
  }
  void disarm_all(Connection& c) noexcept;

  // --- connections ---
  /// A fresh record and its SocketEntry; null: no memory or too many sockets.
  Connection* make_connection() noexcept;
  /// Ends the record only; its SocketEntry and place in the flow table are someone else's.
  void release_connection(Connection& c) noexcept;
  void set_state(Connection& c, TcpState state) noexcept;
  /// Something is owed or may be sent: the next poll_transmit looks at it.
  void mark_ready(Connection& c) noexcept { ready.add(c); }
  /// Buffers, scoreboard and controller for a connection whose SYNs were exchanged.
  /// `cwnd` 0: the initial window.
  [[nodiscard]] bool attach_active(Connection& c, std::uint64_t cwnd = 0,
                                   std::uint64_t ssthresh = kNoLimit) noexcept;
  /// CLOSED. The record stays while an application holds it; what was received can still be read.
  void enter_closed(Connection& c, SocketError error) noexcept;
  /// RST, then CLOSED.
  void reset_peer(Connection& c, SocketError error) noexcept;
  /// Ends a record nobody needs any more: closed, not owned, nothing owed. True: `c` is gone.
  bool reap(Connection& c) noexcept;
  /// A quiet tuple takes over (RFC 9293 §3.6.1); the connection becomes CLOSED.
  void enter_time_wait_record(Connection& c) noexcept;

  //= RFC 9293 §3.6.1: nobody waits for the peer's FIN any more; it does not last for ever
  void arm_orphan(Connection& c) noexcept;

  // --- congestion (congestion.cpp, output/pacing.cpp) ---
  /// What a controller of this connection starts from. `cwnd` 0: the initial window.
  ControllerConfig controller_config(const Connection& c, std::uint64_t cwnd,
                                     std::uint64_t ssthresh) const noexcept;
  /// The controller or the option has changed: pace from now on, or no longer.
  static void update_pacing(Connection& c) noexcept;
  /// What a paced connection may send, in bytes per second.
  static std::uint64_t pacing_rate(const Connection& c) noexcept;
  /// Arms the retransmission timer for what loss recovery needs next: probe, reordering or RTO.
  //= RFC 6298 §5.1 to §5.3; RFC 8985 §8
  void plan_retransmit(Connection& c) noexcept {
    const TimerPlan plan = c.active->recovery.timer(c.rtt, rtt_config());
    if (plan.mode == TimerMode::none) {
      disarm(c, TimerKind::retransmit);
    } else {
      arm(c, TimerKind::retransmit, plan.at);
    }
  }
  /// The window may grow: it, not the application or the peer, held the sender back in the current
  /// flight; or it is slow start and half of it was used, as Linux.
  static bool cwnd_limited(const Connection& c) noexcept {
    const Active& a = *c.active;
    if (a.cwnd_was_limited && a.cwnd_limited_until.at_or_after(c.snd.una)) return true;
    const std::uint64_t window = a.cc.window();
    return window < 2 * a.flight_peak && window < a.cc.ssthresh();
  }
  /// What the peer reports about marks with an ACK that did `outcome`.
  void heed_marks(Connection& c, const Segment& seg, AckOutcome& outcome) noexcept;
  /// The peer received `range` twice; `again`: bytes of it that were sent again.
  void note_duplicate(Connection& c, SeqRange range, std::uint32_t again) noexcept;
  /// Passes on what an ACK or a timer has shown.
  void tell_controller(Connection& c, const AckOutcome& outcome, bool cwnd_limited) noexcept;
  /// The same of a plain ACK that is settled.
  void tell_controller(Connection& c, const PlainAck& plain, bool cwnd_limited) noexcept;

  /// An ACK lets nothing out: all was sent, and a turn of the sender would change nothing else.
  static bool nothing_waits(const Connection& c) noexcept {
    const LossRecovery& recovery = c.active->recovery;
    return may_send(c.state) && recovery.is_open() && !c.fin_queued && !c.active->paced &&
           c.snd.nxt == end_of_data(c) && armed(c, TimerKind::rest) &&
           recovery.delivery_rate().is_app_limited_by(recovery.in_flight());
  }

  // --- idle connections (idle.cpp) ---
  /// How long a quiet connection keeps its buffers and controller.
  static constexpr Duration kRestAfter = Duration::seconds(5);
  /// After serving: if nothing moves any more, it rests after a while.
  void consider_rest(Connection& c) noexcept {
    if (!armed(c, TimerKind::rest) && is_quiet(c)) arm(c, TimerKind::rest, now() + kRestAfter);
  }
  /// Moves it to a small record; true: `c` is gone.
  bool rest(Connection& c) noexcept;
  /// Null: no memory, and `idle` stays.
  Connection* wake(IdleConnection& idle) noexcept;

  // --- memory pressure (pressure.cpp) ---
  /// What is given up when memory runs out, in this order. In-order data that nobody has read yet
  /// was acknowledged, so it never is.
  enum class Shed : std::uint8_t {
    out_of_order,  ///< data beyond gaps, of any connection
    excess,        ///< unused chunks, and what buffers may grow to beyond their first size
    half_open,     ///< handshakes that are not complete
    time_wait,     ///< the oldest
    count_,
  };
  /// One step; true if something was given up. Must not be called where a HalfOpen or TimeWait is
  /// held by reference.
  bool shed(Shed step) noexcept;
  /// Step by step until attempt() succeeds; false: it never did.
  template <typename F>
  bool shed_until(F&& attempt) noexcept {
    for (unsigned step = 0; step < static_cast<unsigned>(Shed::count_); ++step) {
      if (shed(static_cast<Shed>(step)) && attempt()) return true;
    }
    return false;
  }
  /// So little is left that no buffer grows.
  bool memory_short() const noexcept;

  // --- TIME-WAIT ---
  void time_wait_append(TimeWait& tw) noexcept;
  void time_wait_unlink(TimeWait& tw) noexcept;
  void time_wait_release(TimeWait& tw) noexcept;
  Instant time_wait_deadline(const TimeWait& tw) const noexcept;
  void time_wait_restart(TimeWait& tw) noexcept;

  // --- Fast Open ---
  const FastOpenKeys& keys_of(const Connection& c) const noexcept {
    return c.fast_open_keys != nullptr ? *c.fast_open_keys : fast_open.keys();
  }
  /// The handshake of a connection that a SYN has made is over; `reset`: by the peer.
  void fast_open_over(Connection& c, bool reset) noexcept;
  /// A connection that its listener counts as a stray (Listener::strays) is none any more.
  void stray_over(Connection& c) noexcept;
  void drop_syn_text(Connection& c) noexcept;

  // --- half-open ---
  void release(HalfOpen& h) noexcept;
  void mark_ready(HalfOpen& h) noexcept {
    if (!h.linked()) half_ready.push_back(h);
  }

  // --- errors for IP_RECVERR ---
  void keep_error_info(Connection& c, const ip::IcmpError& error, SocketError kind) noexcept;
  std::optional<SocketErrorInfo> take_error_info(Connection& c) noexcept;

  /// Ends all records; their memory goes back.
  void clear() noexcept;

  // --- events ---
  /// Data can be read, and written without waiting.
  static std::uint16_t stream_bits(const Connection& c) noexcept {
    const Active& a = *c.active;
    unsigned bits = 0;
    if (!a.rcv_ring.empty() && a.rcv_ring.size() >= c.settings.receive_low_water) bits |= kReadable;
    const bool open = may_send(c.state) || c.fast_open_pending;
    if (open && !a.starved && a.snd_ring.worth_writing() && unsent_is_low(c)) bits |= kWritable;
    return static_cast<std::uint16_t>(bits);
  }
  std::uint16_t bits(const Connection& c) const noexcept {
    // Nearly always: asked after every segment and every call.
    if (c.state == TcpState::established && c.active != nullptr && c.error == SocketError::none &&
        c.error_info == nullptr && !c.read_shut && !c.urgent_in && !c.fin_queued) {
      return static_cast<std::uint16_t>(kConnected | stream_bits(c));
    }
    return unusual_bits(c);
  }
  /// The bits of a socket for an event that is being delivered, marked as reported; 0: none, or it
  /// was closed meanwhile.
  std::uint16_t report(SocketId id) noexcept;
  void update_events(Connection& c) noexcept {
    if (c.owned) ctx.events.update(id_of(c), c.events, bits(c));
  }
  /// The same after bytes were written, which can only take kWritable away.
  void update_written(Connection& c) noexcept {
    // With something to read its event may still wait for memory: then all is tried again.
    const bool stays = (c.events.reported & kWritable) != 0 && c.active->rcv_ring.empty() &&
                       c.active->snd_ring.worth_writing() && unsent_is_low(c);
    if (!stays) update_events(c);
  }
  /// The same after bytes were read, which can only take kReadable away.
  void update_read(Connection& c) noexcept {
    constexpr auto kUsual = static_cast<std::uint16_t>(kConnected | kWritable);
    const auto others = static_cast<std::uint16_t>(c.events.reported & ~unsigned{kReadable});
    if (others != kUsual || c.state != TcpState::established || c.active == nullptr ||
        !c.active->rcv_ring.empty() || c.read_shut || c.error_info != nullptr) {
      return update_events(c);
    }
    c.events.reported = kUsual;
  }

  // --- sizes ---
  /// Payload of the largest segment the path carries, without options.
  std::uint16_t path_mss(const Tuple& tuple, InterfaceId bound) const noexcept;
  static std::uint16_t mss_for(const Tuple& tuple, std::uint32_t mtu) noexcept;
  /// What the MSS option of our SYN says (RFC 9293 §3.7.1).
  std::uint16_t advertised_mss(const Tuple& tuple, const Settings& settings) const noexcept;
  WindowScale offered_scale(const Settings& settings) const noexcept;
  //= RFC 9293 §3.10.7.2: <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>
  /// The answer to a SYN, as far as the options of both sides say.
  wire::TcpRepr syn_ack(const PeerSyn& syn, const Settings& settings) const noexcept;
  //= RFC 5482 §3.1
  /// How long text may stay unacknowledged; zero: as long as R2 retransmissions take.
  Duration user_timeout(const Connection& c) const noexcept;
  /// ADV_UTO, as it stands in the option.
  std::uint16_t user_timeout_advice(const Settings& settings) const noexcept;
  /// The peer is to learn the user timeout with the next segment, if it is to be told at all.
  void advise_user_timeout(Connection& c) noexcept;
  OptionPolicy option_policy(const Tuple& tuple, const Settings& settings) const noexcept;
  /// Text that fits in a segment with the usual options.
  static std::uint32_t eff_mss(const Connection& c) noexcept {
    return c.snd.mss - (c.timestamps_on ? kTimestampOptionBytes : 0U);
  }
  /// Room for text behind rcv.nxt, and the size of the whole buffer; both as far as the window
  /// field can tell the peer.
  struct Space {
    std::uint64_t free = 0;
    std::uint64_t capacity = 0;
  };
  static Space receive_space(const Connection& c) noexcept;
  /// Takes over what both SYNs agreed on.
  void apply_options(Connection& c, const SynOptions& theirs) noexcept;
  /// The largest segment (payload and options) that peer, path and options allow, probed or not.
  std::uint16_t largest_mss(const Connection& c) const noexcept;
  /// Full segments have timed out again and again: perhaps the path drops them for their size.
  void suspect_black_hole(Connection& c) noexcept;
  void start_mtu_search(Connection& c) noexcept;
  void on_mtu_probe(Connection& c, MtuProbe result) noexcept;
  /// Looks up the path MTU again; true if the segment size changed.
  bool refresh_mss(Connection& c) noexcept;

  // --- observation ---
  void trace_segment(TraceKind kind, const Connection* c, Seq seq, Seq ack, std::uint32_t bytes,
                     wire::TcpFlags flags, std::uint32_t window) noexcept;
  void trace_ecn(const Connection& c, std::uint32_t marked) noexcept;
  void trace_rtt(const Connection& c, Duration sample) noexcept;
  void trace(const TraceRecord& record) noexcept {
    if (ctx.trace != nullptr) [[unlikely]]
      ctx.trace->record(record);
  }
  TraceRecord trace_record(TraceKind kind, const Connection& c) const noexcept;
  /// FlightSize in bytes for a reduction of the window.
  static std::uint64_t flight_size(const Connection& c, std::uint64_t outstanding,
                                   std::uint64_t in_flight) noexcept;
  void drop(DropReason reason, const Segment& seg) noexcept { ctx.drop(reason, seg.interface); }
  bool tracing() const noexcept { return ctx.trace != nullptr; }

 private:
  static bool unsent_is_low(const Connection& c) noexcept;
  FlowRef search(const Tuple& tuple) noexcept;
  Connection* search(SocketId id) noexcept;
  Connection* recent(const Tuple& tuple) noexcept {
    return recent_ != nullptr && recent_->in_table && recent_->tuple == tuple ? recent_ : nullptr;
  }
  std::uint16_t report(Connection& c) noexcept;
  std::uint16_t report(IdleConnection& idle) noexcept;
  std::uint16_t unusual_bits(const Connection& c) const noexcept;
  bool shed_out_of_order() noexcept;
  bool shed_excess() noexcept;
  bool shed_half_open() noexcept;
  bool shed_time_wait() noexcept;
  bool is_quiet(const Connection& c) const noexcept;
  void pack(const Connection& c, IdleConnection& idle) const noexcept;
  void unpack(const IdleConnection& idle, Connection& c) noexcept;
  bool keep_history(const Connection& c, IdleConnection& idle) noexcept;
  bool keep_settings(const Connection& c, IdleConnection& idle) noexcept;
  void drop_settings(const IdleConnection& idle) noexcept;
  void enter_recovery(Connection& c, const AckOutcome& outcome) noexcept;
  LossSample loss_sample(const Active& a, const AckOutcome& outcome) const noexcept;
  void take_back(Connection& c, const AckOutcome& outcome) noexcept;
  void tell_acked(Connection& c, const AckOutcome& outcome, bool cwnd_limited) noexcept;
  void tell_acked(Connection& c, const PlainAck& plain, std::uint64_t bytes_per_second,
                  bool cwnd_limited) noexcept;
  void trace_ack(const Connection& c, std::uint64_t in_flight,
                 std::optional<Duration> rtt) noexcept;

  std::array<Instant, static_cast<std::size_t>(Shed::count_)> shed_not_before_{};
  std::uint32_t shed_cursor_ = 0;
  Connection* recent_ = nullptr;  ///< what a segment or call was for last; null: none
  SlabHandle recent_settings_;    ///< SharedSettings kept last
  mutable TupleHash flow_hash_;
  mutable TupleHash secret_hash_;  ///< one half for the ISN, the other for the timestamps
};

/// Offset of sequence number `seq` in the send ring.
inline std::uint64_t ring_offset(const Connection& c, Seq seq) noexcept {
  const Seq base = c.syn_acked ? c.snd.una : c.snd.iss + 1;
  return Seq::span(base, seq);
}
/// A SYN or SYN-ACK got lost, as far as is known.
inline bool syn_lost(const Connection& c) noexcept {
  return c.syn_retransmitted && (!c.syn_too_big || c.stats.timeouts > 0);
}

inline Shared::Space Shared::receive_space(const Connection& c) noexcept {
  Space space{c.settings.receive_buffer, c.settings.receive_buffer};
  if (c.active != nullptr) [[likely]]
    space = {c.active->rcv_ring.window(), c.active->rcv_ring.limit()};
  const std::uint64_t most = std::min<std::uint64_t>(c.settings.window_clamp,
                                                     std::uint64_t{0xffff} << c.rcv.scale.shift());
  return {std::min(space.free, most), std::min(space.capacity, most)};
}

inline bool Shared::unsent_is_low(const Connection& c) noexcept {
  const std::uint32_t most = c.settings.not_sent_low_water;
  // What is unsent is at most what is in the buffer.
  return c.active->snd_ring.size() < most || Seq::span(c.snd.nxt, end_of_data(c)) < most;
}

}  // namespace tidewire::tcp

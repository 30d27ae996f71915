// What leaves, pulled by the driver: owed resets and ACKs first, then data, flow by flow.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "core/tcp/shared.hpp"

namespace tidewire::tcp {

class Sender {
 public:
  explicit Sender(Shared& shared) noexcept : s(shared) {}

  /// Serves ready flows by deficit round robin until the budget is spent or nothing is left.
  Transmit poll(TxBudget& budget) noexcept;
  void on_writable(InterfaceId interface) noexcept;
  void on_neighbor_resolved(InterfaceId interface) noexcept;
  void on_neighbor_failed(InterfaceId interface, const IpAddress& next_hop) noexcept;
  void on_path_change() noexcept;

 private:
  /// One segment (or super-segment) about to leave.
  struct Outgoing {
    Seq seq;
    std::uint32_t text = 0;     ///< bytes from the send ring
    std::uint32_t per_seg = 0;  ///< text per segment
    wire::TcpFlags flags;
    wire::TcpOptions options;
    Instant stamp = Instant::never();  ///< that the timestamps option tells; never: now
    bool retransmission = false;
    bool mtu_probe = false;  ///< one segment that is larger than snd.mss
    bool dsack = false;      ///< options.sack starts with a D-SACK
  };
  enum class Step : std::uint8_t {
    sent,
    nothing,  ///< there is nothing (more) that may leave now
    waits,    ///< it waits for the device or a neighbor, on a list
    gone,     ///< the record no longer exists
  };
  /// What the window, the congestion window and the unsent data allow.
  struct Room {
    std::uint32_t unsent = 0;   ///< bytes never sent
    std::uint32_t usable = 0;   ///< of the peer's window
    std::uint64_t allowed = 0;  ///< by congestion control
  };

  // sender.cpp
  void serve(Connection& c, TxBudget& budget) noexcept;
  bool has_no_data(Connection& c) noexcept;
  Step step_without_data(Connection& c) noexcept;
  /// No further turn is needed. A connection that is closing has one more, to become a record.
  bool is_done(Connection& c) noexcept {
    return may_send(c.state) && !c.ack.owed_now() && has_no_data(c);
  }
  Step step(Connection& c) noexcept;
  Step serve_half_open(HalfOpen& h, TxBudget& budget) noexcept;
  // plain.cpp
  static bool is_plain(const Connection& c) noexcept;
  bool fits_in_one(Connection& c, const Room& room, std::uint32_t per_seg) noexcept;
  bool serve_plain(Connection& c, TxBudget& budget) noexcept;
  bool push_plain(Connection& c, ip::HeaderBuffer& headers, std::span<const Bytes> payload,
                  std::uint32_t text) noexcept;
  static bool is_bare(const Connection& c) noexcept;
  bool send_bare(Connection& c, Seq seq, wire::TcpFlags flags) noexcept;
  Step send_plain(Connection& c, const Room& room, std::uint32_t per_seg) noexcept;
  // segmenter.cpp
  Step push(Connection& c, Outgoing& out) noexcept;
  /// A packet with a transport header of `header` bytes, but for its payload.
  static ip::OutPacket packet_of(const Connection& c, std::size_t header) noexcept;
  void commit(Connection& c, const Outgoing& out, const ReceiveWindow& window,
              std::uint16_t segs) noexcept;
  /// A segment with an ACK left; `window` is the one it offered.
  void commit_ack(Connection& c, const ReceiveWindow& window) noexcept {
    c.rcv.window = window;
    c.rcv.last_ack_sent = c.rcv.nxt;
    c.ack.on_sent();
    s.disarm(c, TimerKind::delayed_ack);
  }
  void watch_device(Connection& c) noexcept;
  Step not_taken(Connection& c, const ip::SendResult& result) noexcept;
  WireWindow window_field(const Connection& c, ReceiveWindow& window, bool syn) const noexcept;
  wire::TcpOptions common_options(const Connection& c) const noexcept;
  void add_sack(const Connection& c, Outgoing& out, bool with_duplicates) const noexcept;
  static Ecn::Kind kind_of(const Connection& c, const Outgoing& out) noexcept;
  /// Sets the flags that ECN asks for; the TOS of the packet.
  std::uint8_t apply_ecn(const Connection& c, const Outgoing& out, wire::TcpFlags& flags) noexcept;
  void trace_out(const Connection& c, const Outgoing& out, std::uint32_t window) noexcept;
  // control.cpp
  Step send_rst(Connection& c) noexcept;
  Step send_syn(Connection& c) noexcept;
  void add_fast_open(const Connection& c, Outgoing& out, bool answer) noexcept;
  Step send_ack(Connection& c) noexcept;
  Step send_probe(Connection& c) noexcept;
  // pacing.cpp
  /// Whether a paced connection's next burst may leave; if so it bounds the burst, else it arms the
  /// timer.
  bool burst_due(Connection& c) noexcept;
  // data.cpp
  Step send_data(Connection& c) noexcept;
  Step retransmit(Connection& c, const Room& room) noexcept;
  Step send_mtu_probe(Connection& c, const Room& room, std::uint16_t size) noexcept;
  /// The size of a probe that is due.
  std::optional<std::uint16_t> mtu_probe_due(Connection& c, const Room& room) noexcept;
  Step send_new(Connection& c, const Room& room) noexcept;
  Step send_fin(Connection& c, const Room& room) noexcept;
  Room room_for(const Connection& c) const noexcept;
  static void note_if_app_limited(Connection& c, const Room& room) noexcept;
  std::uint32_t length_to_send(Connection& c, const Room& room, std::uint32_t per_seg) noexcept;
  void note_limits(Connection& c, const Room& room, std::uint32_t text,
                   std::uint32_t per_seg) noexcept;
  std::uint64_t burst_of(const Connection& c, std::uint32_t per_seg) const noexcept;
  bool worth_waiting(const Connection& c, std::uint64_t limit,
                     std::uint32_t per_seg) const noexcept;
  bool may_send_small(Connection& c, const Room& room) noexcept;
  void window_too_small(Connection& c, const Room& room) noexcept;
  Step emit(Connection& c, Outgoing& out, bool fin) noexcept;
  struct NewText {
    std::uint32_t text = 0;  ///< bytes
    Seq end;                 ///< with FIN
    std::uint32_t segs = 1;
    bool small = false;  ///< the last segment is not full
  };
  void commit_text(Connection& c, const NewText& sent) noexcept;
  void tell_sent(Connection& c, std::uint32_t text, std::uint32_t segs,
                 bool retransmission) noexcept;
  /// Text that leaves now may be the answer to text that came.
  bool answers_text(const Connection& c) const noexcept {
    return (c.stats.data_segs_in > 0 || c.ack.owed_now()) &&
           s.now().since(c.stats.last_received) < s.config().delayed_ack;
  }
  void restart_after_idle(Connection& c) noexcept;

  static Seq acceptable_seq(const Connection& c) noexcept;

  /// Regions of the send ring in one packet. More would mean tiny chunks; then the packet is
  /// shorter.
  static constexpr std::size_t kMostRegions = 40;

  /// The same for a plain segment.
  static constexpr std::size_t kPlainRegions = 4;

  Shared& s;
  std::array<Bytes, kMostRegions> regions_;  ///< of the packet that is being made
  std::uint64_t left_ = 0;                   ///< bytes the flow being served may still send
  std::uint64_t spent_ = 0;                  ///< bytes of the frame just taken
};

inline Sender::Room Sender::room_for(const Connection& c) const noexcept {
  Room room;
  const Seq end = end_of_data(c);
  if (!c.fin_sent) room.unsent = Seq::span(c.snd.nxt, end);
  const std::int32_t usable = Seq::distance(c.snd.nxt, c.snd.una + c.snd.wnd);
  room.usable = usable > 0 ? static_cast<std::uint32_t>(usable) : 0;  // MUST-34: it may be negative
  room.allowed = c.active->recovery.allowance(c.active->cc.window(), c.active->cc.uses_prr());
  return room;
}

/// Less than a segment is left and the window has room: it is the application that limits.
inline void Sender::note_if_app_limited(Connection& c, const Room& room) noexcept {
  if (room.unsent >= c.snd.mss || room.allowed < c.snd.mss) return;
  LossRecovery& recovery = c.active->recovery;
  recovery.delivery_rate().mark_app_limited(recovery.in_flight());
}

/// What holds for all data that left.
inline void Sender::tell_sent(Connection& c, std::uint32_t text, std::uint32_t segs,
                              bool retransmission) noexcept {
  Active& a = *c.active;
  a.cc.on_sent({.now = s.now(),
                .bytes = text,
                .in_flight = a.recovery.in_flight(),
                .retransmission = retransmission,
                .app_limited = a.recovery.delivery_rate().app_limited()});
  if (a.paced) [[unlikely]]
    a.pacer.on_sent(text, s.now());
  c.stats.data_segs_out += segs;
  c.stats.last_sent = s.now();
  a.idle_since = s.now();
}

/// Text (or FIN) left for the first time, and recovery has recorded it.
inline void Sender::commit_text(Connection& c, const NewText& sent) noexcept {
  tell_sent(c, sent.text, sent.segs, false);
  Active& a = *c.active;
  c.snd.nxt = sent.end;
  c.stats.bytes_sent += sent.text;
  const std::uint64_t flight = a.recovery.scoreboard().outstanding();
  if (c.snd.una.at_or_after(a.flight_until) || flight > a.flight_peak) {
    a.flight_peak = flight;
    a.flight_until = c.snd.nxt;
  }
  if (sent.small) a.small_end = sent.end;
  c.override_sws = false;
  s.disarm(c, TimerKind::persist);
  if (c.snd.nxt == end_of_data(c)) s.disarm(c, TimerKind::cork);
}

//= RFC 5681 §4.1
inline void Sender::restart_after_idle(Connection& c) noexcept {
  Active& a = *c.active;
  if (c.snd.una != c.snd.nxt) return;
  const Duration idle = s.now().since(a.idle_since);
  const RttConfig config = s.rtt_config();
  if (idle <= std::min({config.min_rto, config.initial_rto, config.max_rto})) return;
  const Duration rto = c.rtt.rto(config);
  if (idle <= rto || !s.config().slow_start_after_idle) return;
  a.cc.on_idle_restart({.now = s.now(), .idle = idle, .rto = rto});
  a.idle_since = s.now();
}

// In place, for every segment: what it is given and gives back would cost as much as the work.
[[gnu::always_inline]] inline WireWindow Sender::window_field(const Connection& c,
                                                              ReceiveWindow& window,
                                                              bool syn) const noexcept {
  const Shared::Space space = Shared::receive_space(c);
  //= RFC 7323 §2.2
  // A SYN's window is never scaled.
  if (syn) return Window{std::min<std::uint64_t>(space.free, 0xffff)} >> WindowScale{};
  return window.advertise(c.rcv.nxt, window.offer(c.rcv.nxt, space.free, space.capacity, c.rcv.mss),
                          c.rcv.scale);
}

}  // namespace tidewire::tcp

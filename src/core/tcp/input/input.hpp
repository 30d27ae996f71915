// Segments that arrive: from the four-tuple to the record, and through the steps of RFC 9293.
#pragma once

#include <array>

#include "core/ip/packet.hpp"
#include "core/ip/train.hpp"
#include "core/tcp/segment.hpp"
#include "core/tcp/shared.hpp"

namespace tidewire::tcp {

/// What a step says about the segment.
enum class Verdict : std::uint8_t {
  go_on,
  done,  ///< dropped or dealt with; the connection may be closed but its record still exists
};

/// Never transmits: it changes state, owes ACKs, and marks connections ready.
class Input {
 public:
  explicit Input(Shared& shared) noexcept : s(shared) {}

  void on_packet(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept;
  void on_icmp_error(const ip::IcmpError& error) noexcept;

  /// RFC 9293 §3.10.7.1: a segment that belongs to nothing is answered with a RST.
  void reply_reset(const Segment& seg) noexcept;
  /// A connection from a half-open record, in SYN-RECEIVED; `h` is gone. Null: no memory, `h`
  /// stays.
  Connection* promote(HalfOpen& h, const Settings& settings, std::string_view controller) noexcept;

 private:
  // plain.cpp
  bool predicts(const Connection& c) const noexcept;
  static bool wants_text(const Connection& c) noexcept;
  bool predicted(const ip::Packet& packet) noexcept;
  void plain_ack(Connection& c, Seq ack, std::uint32_t echo, Instant arrival) noexcept;
  // demux.cpp
  [[gnu::noinline]] void arrives(const ip::Packet& packet,
                                 const ForwardPolicy& forwarding) noexcept;
  void connection_arrives(Connection& c, Segment& seg) noexcept;
  void settle(Connection& c) noexcept;
  bool leads_train(const Connection& c, const Segment& seg) const noexcept;
  void gather(const Connection& c, Segment& seg, ip::Train& train) noexcept;
  /// `isn_floor`: our numbers must begin behind it (the tuple was in TIME-WAIT).
  void stranger(Segment& seg, const ip::Packet& packet, const ForwardPolicy& forwarding,
                std::optional<Seq> isn_floor) noexcept;
  Connection* find_listener(const Segment& seg) noexcept;
  Connection* find_listener_at(const ListenKey& key, const Segment& seg) noexcept;
  // listen.cpp
  void listen_arrives(Connection& listener, Segment& seg, std::optional<Seq> isn_floor) noexcept;
  Verdict cookie_arrives(Connection& listener, Segment& seg) noexcept;
  void answer_with_cookie(Connection& listener, const Segment& seg) noexcept;
  /// Our number for the answer to a SYN.
  Seq choose_iss(const Tuple& tuple, std::optional<Seq> isn_floor) const noexcept;
  HalfOpen* make_half_open(const Segment& seg, std::optional<Seq> isn_floor) noexcept;
  void hold_for_owner(const Segment& seg, std::optional<Seq> isn_floor) noexcept;
  void half_open_arrives(HalfOpen& h, Segment& seg) noexcept;
  Verdict half_open_checks(HalfOpen& h, Segment& seg) noexcept;
  void half_open_acknowledged(HalfOpen& h, Segment& seg) noexcept;
  /// A connection in SYN-RECEIVED that is in no table yet; null: no memory. `retransmitted`: our
  /// SYN-ACK was.
  Connection* make_passive(const PeerSyn& syn, const Settings& settings,
                           std::string_view controller, bool retransmitted,
                           std::optional<Duration> round_trip = {}) noexcept;
  void inherit(Connection& c, const Connection& listener) noexcept;
  void acknowledged(Connection& c, Segment& seg) noexcept;
  void half_open_unreachable(const FlowRef& ref, ip::IcmpError::Kind kind, Seq seq) noexcept;
  void reply_half_open_ack(const HalfOpen& h) noexcept;
  void reply(const Tuple& tuple, const wire::TcpRepr& repr) noexcept;
  void reply_ack(const Tuple& tuple, Seq seq, Seq ack, std::uint16_t window,
                 const std::optional<wire::TcpTimestamps>& timestamps) noexcept;
  void time_wait_arrives(TimeWait& tw, Segment& seg, const ip::Packet& packet,
                         const ForwardPolicy& forwarding) noexcept;
  // fast_open.cpp
  struct FastOpenChoice {
    bool accept = false;       ///< the SYN makes the connection
    bool give_cookie = false;  ///< the SYN-ACK carries one
    bool experimental = false;
  };
  FastOpenChoice judge_fast_open(const Connection& listener, const Segment& seg) noexcept;
  bool fast_open(Connection& listener, Segment& seg, const PeerSyn& syn,
                 const FastOpenChoice& choice) noexcept;
  void syn_text_answered(Connection& c, const Segment& seg) noexcept;
  void keep_syn_text(Connection& c, std::uint32_t skip) noexcept;
  // syn_sent.cpp
  void syn_sent_arrives(Connection& c, Segment& seg) noexcept;
  bool echoes_nothing_of_ours(const Connection& c, const Segment& seg) const noexcept;
  Verdict syn_sent_synchronize(Connection& c, Segment& seg) noexcept;
  void sample_syn(Connection& c, const Segment& seg) noexcept;
  void establish(Connection& c) noexcept;
  void enqueue_accept(Connection& c) noexcept;
  // synchronized.cpp: RFC 9293 §3.10.7.4, in order
  void synchronized_arrives(Connection& c, Segment& seg) noexcept;
  Verdict check_sequence(Connection& c, Segment& seg) noexcept;
  Verdict check_timestamps(Connection& c, const Segment& seg) noexcept;
  bool note_if_duplicate(Connection& c, const Segment& seg) noexcept;
  void remember_duplicate(Connection& c, SeqRange range) noexcept;
  void unacceptable(Connection& c, const Segment& seg) noexcept;
  Verdict check_rst(Connection& c, const Segment& seg) noexcept;
  Verdict check_syn(Connection& c, const Segment& seg) noexcept;
  Verdict check_ack(Connection& c, Segment& seg) noexcept;
  // ack.cpp
  Verdict process_ack(Connection& c, Segment& seg) noexcept;
  void take_window(Connection& c, Seq seq, Seq ack, std::uint16_t window) noexcept;
  void feed_recovery(Connection& c, const Segment& seg) noexcept;
  /// When a segment came, as far as the sender may believe it.
  Instant arrival_of(const Connection& c, Instant ingress) const noexcept {
    return std::clamp(ingress, std::min(c.stats.last_sent, s.now()), s.now());
  }
  void take_acknowledged(Connection& c, Seq ack) noexcept;
  void after_ack_timers(Connection& c) noexcept {
    if (s.armed(c, TimerKind::persist)) [[unlikely]]
      stop_probing(c);
  }
  void stop_probing(Connection& c) noexcept;
  Verdict fin_acknowledged(Connection& c) noexcept {
    return c.fin_acked ? after_fin_acknowledged(c) : Verdict::go_on;
  }
  Verdict after_fin_acknowledged(Connection& c) noexcept;
  void grow_send_buffer(Connection& c) noexcept;
  // text.cpp
  void process_urgent(Connection& c, const Segment& seg) noexcept;
  Verdict process_text(Connection& c, Segment& seg) noexcept;
  RecvRing::Written write_part(RecvRing& ring, const Segment& seg) noexcept;
  void take_marks(Connection& c, const Segment& seg) noexcept;
  void measure_arrival(Connection& c, const Segment& seg) noexcept;
  void measure_echo(Connection& c, std::uint32_t echo) noexcept {
    if (c.active->tuner.wants_echo(echo)) take_echo(c, echo);
  }
  void take_echo(Connection& c, std::uint32_t echo) noexcept;
  void owe_delayed_ack(Connection& c, std::uint32_t segs, std::uint32_t bytes) noexcept;
  bool too_many_islands(const Connection& c, SeqRange text) const noexcept;
  void text_written(Connection& c, const Segment& seg, const RecvRing::Written& w) noexcept;
  void process_fin(Connection& c, const Segment& seg) noexcept;
  void take_fin(Connection& c) noexcept;

  // icmp.cpp
  void path_mtu_lowered(Connection& c, std::uint32_t mtu) noexcept;

  void challenge_ack(Connection& c, DropReason why, const Segment& seg) noexcept;
  //= RFC 5482 §3.2
  /// Remembers what the peer advises. Zero would end connections at once and is no advice.
  static void take_user_timeout(Connection& c, const Segment& seg) noexcept {
    if (!seg.options.user_timeout || !c.settings.user_timeout_option) return;
    if ((*seg.options.user_timeout & 0x7fff) != 0) c.peer_user_timeout = *seg.options.user_timeout;
  }
  void owe_ack(Connection& c, std::uint32_t copies = 1) noexcept {
    c.ack.now(copies);
    s.mark_ready(c);
  }

  Shared& s;
  static constexpr std::size_t kMostInTrain = 64;
  std::array<Bytes, kMostInTrain> texts_;  // of the train that is being handled
};

}  // namespace tidewire::tcp

// The records of TCP: one kind for each stage of a connection, each with its legal data only.
#pragma once

#include <array>
#include <cstdint>

#include "base/list.hpp"
#include "base/seq.hpp"
#include "base/slab.hpp"
#include "base/time.hpp"
#include "base/timer_wheel.hpp"
#include "core/events.hpp"
#include "core/ip/output.hpp"
#include "core/ports.hpp"
#include "core/socket_error.hpp"
#include "core/stack.hpp"
#include "core/tcp/buffer/receive_tuner.hpp"
#include "core/tcp/buffer/recv_ring.hpp"
#include "core/tcp/buffer/send_ring.hpp"
#include "core/tcp/cc/controller.hpp"
#include "core/tcp/ecn.hpp"
#include "core/tcp/fast_open.hpp"
#include "core/tcp/flow_table.hpp"
#include "core/tcp/mtu_search.hpp"
#include "core/tcp/option_policy.hpp"
#include "core/tcp/output/ack_policy.hpp"
#include "core/tcp/phase.hpp"
#include "core/tcp/recover/loss_recovery.hpp"
#include "core/tcp/recover/pacer.hpp"
#include "core/tcp/recover/rtt.hpp"
#include "core/tcp/send_times.hpp"
#include "core/tcp/settings.hpp"
#include "core/tcp/timestamps.hpp"
#include "core/tcp/tuple.hpp"
#include "core/tcp/window.hpp"

namespace tidewire::tcp {

struct ReadyTag {};

inline constexpr std::uint32_t kNoIndex = 0xffffffffU;

/// Whose timer a TimerEntry is.
enum class TimerOwner : std::uint32_t { connection, half_open, idle };

/// The timers of a connection. Each is an Instant; one entry in the wheel serves the earliest.
enum class TimerKind : std::uint8_t {
  retransmit,   ///< RTO of data, SYN or SYN-ACK
  delayed_ack,  ///< an ACK is owed at the latest now
  persist,      ///< the window is closed: probe it (also the override of sender SWS avoidance)
  cork,         ///< held-back data leaves
  keepalive,    ///< idle long enough to probe
  pacing,       ///< the next burst may leave
  linger,       ///< FIN-WAIT-2 without an owner; user timeout of an orphan
  rest,         ///< quiet for long enough to become an IdleConnection
  count_,
};

/// Numbers for SocketInfo.
struct Stats {
  std::uint64_t bytes_sent = 0, bytes_acked = 0, bytes_received = 0, bytes_retransmitted = 0;
  std::uint64_t segs_out = 0, segs_in = 0, data_segs_out = 0, data_segs_in = 0;
  std::uint32_t retransmits = 0, fast_retransmits = 0, timeouts = 0, lost = 0;
  std::uint32_t spurious = 0, spurious_retransmits = 0, dsacks = 0, reordering = 0;
  std::uint32_t reordering_seen = 0;  ///< ACKs that showed reordering
  std::uint32_t ce_received = 0;      ///< segments that came with CE
  std::uint32_t ecn_reductions = 0;
  std::uint64_t ce_reported = 0;  ///< bytes that the peer said came with CE
  std::uint64_t delivery_rate = 0;
  Instant last_sent, last_received, last_ack_received;
  SendTimes times;

  friend bool operator==(const Stats&, const Stats&) noexcept = default;
};

/// What a connection needs while data moves: buffers, scoreboard, controller.
struct Active {
  Active(ChunkPool& pool, MemoryProvider& memory, const RecoveryConfig& recovery_config,
         const AnyController& controller, Seq snd_start, Seq rcv_start, std::size_t send_limit,
         std::size_t receive_limit, Instant now) noexcept
      : snd_ring(pool, send_limit),
        rcv_ring(pool, rcv_start, receive_limit),
        recovery(memory, recovery_config, snd_start, now),
        cc(controller),
        tuner(now, kFirstSegments * recovery_config.mss) {}

  /// What is expected in the first round trip (RFC 6928).
  static constexpr std::uint32_t kFirstSegments = 10;

  SendRing snd_ring;  ///< offset 0 is snd.una (or iss + 1 before the SYN is acknowledged)
  RecvRing rcv_ring;
  LossRecovery recovery;
  AnyController cc;
  ReceiveTuner tuner;
  Pacer pacer;         ///< counts while `paced`
  bool paced = false;  ///< by the controller's wish or the socket's option
  // Marks of sequence space.
  Seq small_end;                     ///< end of the last segment below the MSS (Minshall)
  Seq cwnd_limited_until;            ///< the window held the sender back before this
  bool cwnd_was_limited = false;     ///< cwnd_limited_until is set
  bool pushed = true;                ///< what was written last was not MSG_MORE
  Seq flight_until;                  ///< end of the round trip that flight_peak belongs to
  std::uint64_t flight_peak = 0;     ///< bytes; most that was out at once in a round trip
  bool more = false;                 ///< the last send said MSG_MORE
  bool starved = false;              ///< a send found no memory; an ACK will free some
  bool no_room = false;              ///< a send found the buffer full
  Instant idle_since;                ///< when the last segment with data was sent
  std::array<SeqRange, 4> dsacks{};  ///< duplicates to report, oldest first
  std::uint8_t dsack_count = 0;
};

/// Where the record of a socket is. The index and generation of this entry are the SocketId: it
/// lives as long as the connection, in whatever record.
struct SocketEntry {
  FlowRef record;
};

/// A socket: fresh, bound, listening, connecting, connected or dead.
struct Connection : ListNode<ReadyTag> {
  Connection() noexcept : timer(this, static_cast<std::uint32_t>(TimerOwner::connection)) {
    deadlines.fill(Instant::never());
  }

  struct Send {
    Seq una, nxt;
    Seq wl1, wl2;  ///< seg.seq and seg.ack of the last window update
    Seq up;        ///< one past the last urgent octet; valid if urgent_out
    Seq iss;
    std::uint32_t wnd = 0;      ///< bytes from una
    std::uint32_t max_wnd = 0;  ///< largest ever offered (RFC 5961 §5.2, SWS avoidance)
    std::uint16_t mss = 536;    ///< payload and options of the largest segment, by peer and path
    std::uint16_t peer_mss = 536;
    WindowScale scale;
  };
  struct Receive {
    Seq nxt;
    Seq up;  ///< sequence number of the urgent octet; valid if urgent_in
    Seq irs;
    Seq fin;  ///< where the peer's FIN stands; valid if fin_pending
    Seq last_ack_sent;
    ReceiveWindow window;
    std::uint16_t mss = 536;  ///< what we advertised
    WindowScale scale;
  };

  Tuple tuple;
  TcpState state = TcpState::closed;
  SocketError error = SocketError::none;  ///< pending, for take_error()
  SocketError soft_error = SocketError::none;
  TimerEntry timer;
  Send snd;
  Receive rcv;
  Active* active = nullptr;
  struct Listener* listener = nullptr;
  SocketErrorInfo* error_info = nullptr;   ///< for IP_RECVERR
  std::string_view controller;             ///< chosen by name; empty: the configured one
  FastOpenKeys* fast_open_keys = nullptr;  ///< of its own; null: the stack's
  SlabHandle entry;                        ///< its SocketEntry
  BindId bind = 0;
  std::uint32_t accept_next = kNoIndex;  ///< in the queue of its listener
  std::uint32_t accept_by = kNoIndex;    ///< the listener it goes to once established
  ip::Path path;
  EventSlot events;
  AckPolicy ack;
  RttEstimator rtt;
  Timestamps timestamps;
  Ecn ecn;
  MtuSearch mtu;
  Settings settings;
  std::array<Instant, static_cast<std::size_t>(TimerKind::count_)> deadlines;
  Instant retries_since;  ///< first transmission of what is being retransmitted; persist, keepalive
  Instant last_received;  ///< anything acceptable: keepalive
  std::uint8_t retries = 0;        ///< timeouts without progress
  std::uint8_t probes = 0;         ///< unanswered window or keepalive probes
  std::uint8_t persist_shift = 0;  ///< back-off of the window probe
  std::uint8_t challenges = 0;     ///< challenge ACKs left in this second
  std::uint8_t urgent_byte = 0;
  std::uint32_t deficit = 0;
  Instant challenge_second;
  SendRing* syn_ring = nullptr;           ///< what goes with the SYN, until the answer
  std::uint32_t fast_open_by = kNoIndex;  ///< the listener that counts it as pending
  std::uint16_t syn_text = 0;             ///< octets of the send ring that go with the SYN

  // What keeps a segment from being plain stands together, so that it is asked at once.
  bool owe_syn : 1 = false;  ///< SYN, or SYN-ACK in SYN-RECEIVED
  bool owe_rst : 1 = false;
  bool owe_probe : 1 = false;  ///< zero-window probe
  bool owe_keepalive : 1 = false;
  bool owe_user_timeout : 1 = false;  ///< the next segment is an ACK with the option
  bool fin_queued : 1 = false;
  bool urgent_out : 1 = false;
  bool syn_acked : 1 = false;
  bool timestamps_on : 1 = false;
  bool owned : 1 = false;  ///< an application holds the SocketId
  bool family_v6 : 1 = false;
  bool bound : 1 = false;  ///< explicit bind
  bool in_table : 1 = false;
  bool passive : 1 = false;    ///< SYN-RECEIVED came from LISTEN (RFC 9293 MUST-11)
  bool connected : 1 = false;  ///< was established
  bool syn_sent_once : 1 = false;
  bool syn_retransmitted : 1 = false;
  bool syn_too_big : 1 = false;  ///< the first one, with its text, for the path
  bool fin_sent : 1 = false;
  bool fin_acked : 1 = false;
  bool fin_pending : 1 = false;  ///< a FIN came ahead of missing text
  bool fin_received : 1 = false;
  bool read_shut : 1 = false;
  bool sack_on : 1 = false;
  bool scaling_on : 1 = false;
  bool urgent_in : 1 = false;     ///< rcv.up lies ahead of what was read
  bool urgent_taken : 1 = false;  ///< the octet was read out of band
  bool urgent_held : 1 = false;   ///< the octet waits in urgent_byte
  bool override_sws : 1 = false;  ///< send what there is, however small
  bool force_retransmit : 1 =
      false;  ///< after RTO: the first segment goes whatever the window says
  bool window_was_zero : 1 = false;
  bool from_cookie : 1 = false;        ///< its record was a SYN cookie
  bool stray : 1 = false;              ///< counted by its listener: neither half-open nor ready
  bool syn_fast_open : 1 = false;      ///< the SYN carried, or will carry, the Fast Open option
  bool syn_data_acked : 1 = false;     ///< and its text was acknowledged by the SYN-ACK
  bool syn_deferred : 1 = false;       ///< connect waits for the first data
  bool fast_open_pending : 1 = false;  ///< made by a SYN with a cookie; its handshake goes on
  bool syn_ack_cookie : 1 = false;     ///< the SYN-ACK carries a (new) Fast Open cookie
  bool syn_ack_exp : 1 = false;        ///< in the experimental form
  FastOpenFailure fast_open_failure : 2 = FastOpenFailure::none;
  std::uint16_t peer_user_timeout = 0;  ///< as in the option; 0: none came
  Stats stats;
};

/// What listen() adds to a socket.
struct Listener {
  std::uint32_t first = kNoIndex, last = kNoIndex;  ///< connections ready to be accepted
  std::uint32_t ready = 0;
  std::uint32_t backlog = 0;
  std::uint32_t half_open = 0;
  std::uint32_t next_same = kNoIndex;   ///< next listener of the same address and port (REUSEPORT)
  std::uint32_t young = 0;              ///< of the half-open ones: SYN-ACK sent only once
  std::uint32_t strays = 0;             ///< connections in SYN-RECEIVED whose last ACK was refused
  Instant cookies_until;                ///< cookies made by then may come back
  std::uint32_t fast_open_pending = 0;  ///< connections made by a SYN whose handshake goes on
  std::uint32_t fast_open_resets = 0;   ///< of those: how many were reset before
  Instant fast_open_reset_until;        ///< the resets count as pending until then
};

/// What a SYN said, and our number for the answer.
struct PeerSyn {
  Tuple tuple;
  Seq iss, irs;
  std::uint32_t tsval = 0;   ///< of the newest SYN
  std::uint16_t window = 0;  ///< never scaled
  std::uint16_t mss = 0;     ///< if has_mss
  InterfaceId interface = kNoInterface;
  std::uint8_t shift = 0;
  bool has_mss : 1 = false;
  bool has_shift : 1 = false;
  bool sack : 1 = false;
  bool timestamps : 1 = false;
  std::uint8_t ecn_mode : 2 = 0;
  std::uint8_t ecn_ip : 2 = 0;

  EcnOffer ecn() const noexcept {
    return {static_cast<EcnMode>(ecn_mode), static_cast<wire::Ecn>(ecn_ip)};
  }
  void set_ecn(EcnOffer offer) noexcept {
    ecn_mode = static_cast<std::uint8_t>(offer.mode) & 3U;
    ecn_ip = static_cast<std::uint8_t>(offer.ip) & 3U;
  }
};

/// SYN-RECEIVED from LISTEN, or a SYN held for a forwarding owner.
struct HalfOpen : ListNode<ReadyTag>, PeerSyn {
  HalfOpen() noexcept : timer(this, static_cast<std::uint32_t>(TimerOwner::half_open)) {}

  TimerEntry timer;
  std::uint32_t listener = kNoIndex;
  std::uint8_t retries = 0;
  bool held : 1 = false;   ///< waits for forward_accept, _reject or _drop
  bool acked : 1 = false;  ///< the ACK came, but accept is deferred or the queue was full
  bool sent : 1 = false;
  bool in_table : 1 = true;
  bool waited : 1 = false;  ///< the SYN-ACK found the next hop unresolved
  bool cookie : 1 = false;  ///< the SYN-ACK carries a Fast Open cookie
  bool exp : 1 = false;     ///< in the experimental form
  Instant sent_at;          ///< of the first SYN-ACK: the first round trip
};
static_assert(sizeof(HalfOpen) <= 128);

/// A quiet tuple: answers old segments for 2·MSL (RFC 9293 §3.6.1).
struct TimeWait {
  Tuple tuple;
  Seq snd_nxt, rcv_nxt;
  std::uint32_t ts_recent = 0;
  std::uint32_t deadline_ms = 0;  ///< wraps
  BindId bind = 0;
  std::uint32_t next = kNoIndex;
  std::uint32_t prev : 31 = 0x7fffffff;
  std::uint32_t timestamps : 1 = 0;
};
static_assert(sizeof(TimeWait) <= 64);

}  // namespace tidewire::tcp

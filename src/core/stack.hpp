// The stack: one virtual host's IP, ICMP, UDP and TCP, without I/O, clock, thread or lock.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.hpp"
#include "base/memory.hpp"
#include "base/random.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "core/config.hpp"
#include "core/counters.hpp"
#include "core/socket_error.hpp"
#include "core/trace.hpp"
#include "core/types.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire {

namespace tcp {  // core/tcp/cc/controller.hpp
struct ControllerConfig;
class AnyController;
using ControllerFactory = AnyController (*)(const ControllerConfig&) noexcept;
}  // namespace tcp

struct InterfaceConfig {
  std::string_view name;  ///< copied, at most 15 characters
  Medium medium = Medium::ethernet;
  MacAddress mac;
  std::uint32_t mtu = 1500;
  bool loopback = false;  ///< 127.0.0.0/8 and ::1 live here; its device gives every frame back
  bool trusted = false;   ///< ChecksumState verified and partial are believed
};

struct Route {
  IpCidr destination;                ///< prefix_len 0: default route
  std::optional<IpAddress> gateway;  ///< none: on link
  InterfaceId interface = kNoInterface;
  std::uint32_t metric = 0;
};

template <typename T>
using SocketResult = Result<T, SocketError>;

struct SendOptions {
  bool more = false;    ///< MSG_MORE: hold back an incomplete segment
  bool urgent = false;  ///< MSG_OOB: the last byte is urgent
};

struct ReceiveOptions {
  bool peek = false;
  bool urgent = false;  ///< take the urgent byte (when it is not inline)
};

/// In-order bytes that wait in the receive ring, at most two pieces of them. Valid until the next
/// non-const call. settle_frames() is one: in a driver's loop nobody keeps them beyond a turn.
struct ReceivedBytes {
  Bytes first, second;
  bool end_of_stream = false;  ///< nothing but FIN follows these bytes
  /// An urgent octet that nobody has taken comes before them; consumed() throws it away.
  bool after_urgent = false;
  constexpr std::size_t size() const noexcept { return first.size() + second.size(); }
};

/// Addressing of one datagram to send. Unset fields take the socket's own values.
struct DatagramTarget {
  std::optional<Endpoint> destination;   ///< none: the connected peer
  std::optional<IpAddress> source;       ///< IP_PKTINFO
  InterfaceId interface = kNoInterface;  ///< IP_PKTINFO; kNoInterface: by route
  std::int16_t tos = -1;
  std::int16_t ttl = -1;
  std::uint16_t segment_size = 0;  ///< UDP_SEGMENT; 0: one datagram
  /// IPv4 options (RFC 1122 §4.1.3.2), at most 40 bytes. The first address of a source route is
  /// the first hop, the destination is its end.
  Bytes ip_options;
};

struct DatagramInfo {
  Endpoint source;
  Endpoint destination;
  InterfaceId interface = kNoInterface;
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;
  std::uint32_t size = 0;    ///< of the whole datagram
  std::uint32_t copied = 0;  ///< bytes written to the caller's buffer
  Instant ingress;
  std::array<std::byte, 40> ip_options{};  ///< IPv4 options as received
  std::uint8_t ip_options_size = 0;
};

/// An ICMP error that concerned a socket (IP_RECVERR).
struct SocketErrorInfo {
  SocketError error = SocketError::none;
  std::uint8_t icmp_type = 0, icmp_code = 0;
  std::uint32_t info = 0;  ///< next-hop MTU
  bool local = false;      ///< found before sending: no ICMP message, no offender, no quote
  std::uint32_t quoted =
      0;  ///< octets of what was sent (of an echo, with its header) that it quotes
  IpAddress offender;
  Endpoint destination;
};

/// A view of one socket for `ss`, watchdogs, reports and TCP_INFO.
struct SocketInfo {
  SocketId id;
  Protocol protocol = Protocol::tcp;
  TcpState state = TcpState::closed;
  Endpoint local, remote;
  bool owned = false;                                 ///< false: closed by its owner, lives on
  std::uint32_t receive_queue = 0, send_queue = 0;    ///< bytes (listener: ready, backlog)
  std::uint32_t send_unsent = 0;                      ///< bytes never sent yet
  std::uint32_t receive_buffer = 0, send_buffer = 0;  ///< what they may hold now, in bytes
  std::uint32_t receive_memory = 0, send_memory = 0;  ///< what they take from the provider
  std::uint32_t cwnd = 0, ssthresh = 0, in_flight = 0, mss = 0, receive_mss = 0, path_mtu = 0;
  Duration srtt, rttvar, rto, min_rtt;
  std::uint32_t send_window = 0, receive_window = 0;
  std::uint8_t send_scale = 0, receive_scale = 0;
  bool timestamps = false, sack = false, window_scaling = false;
  EcnMode ecn = EcnMode::off;
  bool ecn_seen = false;          ///< an ECN-capable packet came
  bool reduced_by_marks = false;  ///< what is in flight was sent before the last reduction by ECN
  std::uint32_t ce_received = 0, ecn_reductions = 0;
  std::uint64_t ce_reported = 0;  ///< bytes that the peer said came with CE
  std::uint64_t bytes_sent = 0, bytes_acked = 0, bytes_received = 0, bytes_retransmitted = 0;
  std::uint64_t segs_out = 0, segs_in = 0, data_segs_out = 0, data_segs_in = 0;
  std::uint32_t retransmits = 0, fast_retransmits = 0, timeouts = 0, lost = 0, sacked = 0;
  std::uint32_t spurious = 0;              ///< reductions of cwnd taken back (losses were none)
  std::uint32_t spurious_retransmits = 0;  ///< segments sent again that the peer had, by D-SACK
  std::uint32_t dsacks = 0;                ///< D-SACK reports, of whatever was received twice
  std::uint32_t reordering = 0;            ///< by how many segments data was overtaken at most
  std::uint32_t reordering_seen = 0;       ///< ACKs that showed reordering
  bool syn_data = false;  ///< RFC 7413: text of a SYN, ours or the peer's, was acknowledged
  FastOpenFailure fast_open_failure = FastOpenFailure::none;
  std::uint64_t pacing_rate = 0, delivery_rate = 0;  ///< bytes per second
  std::uint64_t max_pacing_rate = 0;                 ///< bytes per second; all ones: unlimited
  std::uint8_t backoff = 0, probes = 0;
  bool in_recovery = false;
  bool disorder = false;          ///< duplicate ACKs or SACKs came, no loss is deemed yet
  bool timed_out = false;         ///< recovering from a retransmission timeout
  std::uint32_t outstanding = 0;  ///< bytes sent and not acknowledged
  std::uint32_t deemed_lost = 0;  ///< of these, in bytes
  std::uint32_t sent_again = 0;   ///< of these, in bytes: a retransmission is out
  std::uint64_t delivered = 0;    ///< bytes acknowledged or SACKed
  Instant last_sent, last_received, last_ack_received;
  Duration busy;            ///< there was unacknowledged text
  Duration window_limited;  ///< of that: the peer's window was too small for a segment
  Duration buffer_limited;  ///< of that: all was sent and the application waited to write more
  std::string_view congestion_control;
  std::string_view limited_by;  ///< "application", "cwnd", "receiver window", "link", ...
};

/// The congestion controls that every stack knows; the names last for ever.
std::span<const std::string_view> congestion_controls() noexcept;

/// How long the bytes of received frames stay what they are.
enum class FrameLife : std::uint8_t {
  this_call,
  until_settled,  ///< until Stack::settle_frames(): large text that is read before is not copied
};

/// One TCP/IP stack. All calls come from one thread. Calls that can arm a timer take `now`, which
/// never runs backwards (an earlier value counts as the latest one seen).
class Stack {
 public:
  /// `memory` outlives the stack. A stack that cannot get its first memory answers every call with
  /// SocketError::no_buffers and drops every frame.
  Stack(const StackConfig& config, MemoryProvider& memory, const RandomSeed& seed,
        Instant now) noexcept;
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  // --- the seam ---
  /// A batch of frames arrived. Never transmits: what it causes is pulled by poll_transmit.
  /// With FrameLife::until_settled their bytes may still be used until settle_frames().
  void on_frames(InterfaceId interface, std::span<const RxFrame> frames, Instant now,
                 FrameLife life = FrameLife::this_call) noexcept;
  /// Received text that was not read so far is copied; no byte of a frame is used any more.
  void settle_frames() noexcept;
  /// Handles at most config.timeouts_per_call expiries; if more are due next_deadline() <= now.
  void on_timeout(Instant now) noexcept;
  Transmit poll_transmit(TxSink& sink, Instant now, TxBudget budget = {}) noexcept;
  /// A device that said `full` has room again.
  void on_writable(InterfaceId interface, Instant now) noexcept;
  void on_link(InterfaceId interface, LinkState state, std::uint32_t mtu, Instant now) noexcept;
  /// When on_timeout wants to be called; never() if nothing is armed. Frames that wait to be pulled
  /// are no deadline: call poll_transmit after every batch of calls until it says idle or blocked.
  Instant next_deadline() noexcept;
  /// The next socket or flow with news, FIFO, each at most once in the queue.
  std::optional<Event> poll_event() noexcept;

  // --- host configuration ---
  SocketResult<InterfaceId> add_interface(const InterfaceConfig& config, Instant now) noexcept;
  /// Adds an address and its on-link route. Loopback interfaces get theirs by themselves.
  SocketResult<void> add_address(InterfaceId interface, const IpCidr& cidr, Instant now) noexcept;
  SocketResult<void> remove_address(InterfaceId interface, const IpAddress& address,
                                    Instant now) noexcept;
  SocketResult<void> add_route(const Route& route) noexcept;
  SocketResult<void> remove_route(const IpCidr& destination) noexcept;
  void set_ip_forwarding(bool on) noexcept;
  void set_forwarding(InterfaceId interface, const ForwardPolicy& policy) noexcept;
  bool is_local(const IpAddress& address) const noexcept;
  /// As a sysctl: holds for sockets opened and handshakes begun from now on; what a connection or a
  /// table took from the configuration before, it keeps.
  void set_tcp_config(const TcpConfig& config) noexcept;
  /// The source address a packet to `destination` would carry.
  SocketResult<IpAddress> source_for(const IpAddress& destination) const noexcept;

  // --- sockets of every kind ---
  /// A v6 socket is dual-stack unless v6_only is set: IPv4 peers appear as IPv4-mapped addresses.
  SocketResult<SocketId> open(SocketKind kind, Family family) noexcept;
  /// Port 0 chooses an ephemeral port.
  SocketResult<void> bind(SocketId socket, const Endpoint& local, Instant now) noexcept;
  /// TCP: in_progress, then kConnected or kError. UDP and ICMP: sets, or with no value clears, the
  /// peer at once.
  SocketResult<void> connect(SocketId socket, const std::optional<Endpoint>& remote,
                             Instant now) noexcept;
  SocketResult<void> shutdown(SocketId socket, ShutdownHow how, Instant now) noexcept;
  /// The owner lets go: orderly close in the background (or as the linger option says); RST if
  /// unread data is thrown away (RFC 1122 §4.2.2.13). The id is stale afterwards.
  void close(SocketId socket, Instant now) noexcept;
  /// RST now (TCP), then as close().
  void abort(SocketId socket, Instant now) noexcept;
  SocketResult<void> set_option(SocketId socket, SocketOption option, std::int64_t value,
                                Instant now) noexcept;
  SocketResult<std::int64_t> get_option(SocketId socket, SocketOption option) const noexcept;
  SocketResult<Endpoint> local_endpoint(SocketId socket) const noexcept;
  SocketResult<Endpoint> remote_endpoint(SocketId socket) const noexcept;
  /// SO_ERROR: the pending error, which is cleared.
  SocketError take_error(SocketId socket) noexcept;
  /// IP_RECVERR: the oldest queued error. What it quotes goes to `quote`, as far as there is room;
  /// datagram sockets only.
  std::optional<SocketErrorInfo> take_error_info(SocketId socket, MutBytes quote = {}) noexcept;
  /// EventBits that are true now.
  std::uint16_t readiness(SocketId socket) const noexcept;
  std::optional<SocketInfo> info(SocketId socket) const noexcept;
  /// Sockets in a fixed order: start with a default SocketId, then pass the last id returned.
  /// Includes connections whose owner has closed them and TIME-WAIT. Empty: the walk is over.
  std::optional<SocketInfo> next_socket(SocketId after) const noexcept;

  // --- TCP ---
  //= RFC 7413
  /// Connects with data: as much of it as the SYN holds goes along if a cookie of the server is
  /// known (or none is needed), else the handshake asks for one. Returns how many bytes were taken;
  /// the rest is for send() once connected. Of a socket with SocketOption::fast_open_connect send()
  /// does the same. not_supported: TcpConfig::fast_open has no kFastOpenClient.
  SocketResult<std::size_t> connect_send(SocketId socket, const std::optional<Endpoint>& remote,
                                         Bytes data, Instant now) noexcept;
  /// The keys of a listener's Fast Open cookies: 16 octets, or 32 with an older one that is still
  /// good. invalid: another size.
  SocketResult<void> set_fast_open_keys(SocketId socket, Bytes keys, Instant now) noexcept;
  /// The same for listeners without keys of their own. Before: keys made from the seed.
  SocketResult<void> set_fast_open_keys(Bytes keys) noexcept;
  /// Forgets what was learned of servers: their cookies, and where data in SYNs was lost.
  void forget_fast_open() noexcept;
  /// Writes them to `out` (32 octets at most); returns how many octets there are.
  SocketResult<std::size_t> fast_open_keys(SocketId socket, MutBytes out) const noexcept;
  SocketResult<void> listen(SocketId socket, std::uint32_t backlog, Instant now) noexcept;
  SocketResult<SocketId> accept(SocketId listener, Instant now) noexcept;
  /// Copies as much as fits; would_block if nothing does.
  SocketResult<std::size_t> send(SocketId socket, Bytes data, SendOptions options,
                                 Instant now) noexcept;
  /// Room in the send ring to produce bytes in place; empty if none. Followed by sent().
  MutBytes send_space(SocketId socket, std::size_t wanted) noexcept;
  /// The same in several places, filled in their order, of `wanted` bytes in all at most; returns
  /// how many places of `out` were set. sent() follows, with 0 if nothing was produced.
  std::size_t send_spaces(SocketId socket, std::span<MutBytes> out, std::size_t wanted) noexcept;
  SocketResult<void> sent(SocketId socket, std::size_t bytes, SendOptions options,
                          Instant now) noexcept;
  /// Copies what is there; 0 at the end of the stream; would_block if nothing is there.
  SocketResult<std::size_t> receive(SocketId socket, MutBytes out, ReceiveOptions options,
                                    Instant now) noexcept;
  ReceivedBytes received(SocketId socket) const noexcept;
  SocketResult<void> consumed(SocketId socket, std::size_t bytes, Instant now) noexcept;
  /// Of a listener it holds for the connections it makes from now on; of a connection at once, with
  /// window and threshold kept. invalid: no such name.
  SocketResult<void> set_congestion_control(SocketId socket, std::string_view name,
                                            Instant now) noexcept;
  /// Adds an algorithm of the caller's own, or replaces the one of that name for connections from
  /// now on. `name` outlives the stack. no_buffers: there are 16 already.
  SocketResult<void> add_congestion_control(std::string_view name,
                                            tcp::ControllerFactory factory) noexcept;

  // --- datagrams (UDP and ICMP echo sockets) ---
  /// ICMP sockets: `data` is an ICMP echo request; its identifier is replaced by the bound "port".
  SocketResult<void> send_datagram(SocketId socket, std::span<const Bytes> data,
                                   const DatagramTarget& target, Instant now) noexcept;
  SocketResult<DatagramInfo> receive_datagram(SocketId socket, MutBytes out, bool peek,
                                              Instant now) noexcept;
  SocketResult<void> join_group(SocketId socket, const IpAddress& group, InterfaceId interface,
                                Instant now) noexcept;
  SocketResult<void> leave_group(SocketId socket, const IpAddress& group, InterfaceId interface,
                                 Instant now) noexcept;

  // --- forwarding to an owner (gateway) ---
  /// TCP: answers the held SYN; the socket becomes kConnected when the handshake is complete.
  /// UDP, ICMP: a connected socket (any local address) whose queue holds the first datagram.
  SocketResult<SocketId> forward_accept(FlowId flow, Instant now) noexcept;
  void forward_reject(FlowId flow, ForwardReject how, Instant now) noexcept;
  void forward_drop(FlowId flow) noexcept;
  /// UDP, after forward_accept: what the peer sent could not be delivered after all. Sends the ICMP
  /// error about it (the quote names the flow's addresses and ports) and closes the socket.
  void forward_refuse(SocketId socket, ForwardReject how, Instant now) noexcept;

  // --- observation ---
  const Counters& counters() const noexcept;
  const StackConfig& config() const noexcept;
  /// `ring` outlives its use; nullptr switches tracing off.
  void set_trace(TraceRing* ring) noexcept;

 private:
  class Impl;
  MemoryProvider& memory_;
  Impl* impl_ = nullptr;
};

}  // namespace tidewire

// What the interception needs from a stack: asynchronous sockets, errors as errno values.
//
// Two implementations: kernel_backend (the host's own sockets, a diagnosis that separates faults of
// the interception from faults of the stack) and stack_backend (tidewire::Stack).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "front/abi/option.hpp"
#include "wire/address.hpp"

namespace tidewire::posix {

/// Names a socket of a backend; 0 names none.
using SocketRef = std::uint64_t;

enum class Transport : std::uint8_t { tcp, udp, udp_lite, icmp_echo };

/// Bits of a backend event. They say "look again"; the owner asks for the state itself.
namespace level {
inline constexpr std::uint32_t readable = 1;    ///< bytes, a datagram or the peer's FIN
inline constexpr std::uint32_t writable = 2;    ///< room to send
inline constexpr std::uint32_t acceptable = 4;  ///< a connection waits on a listener
inline constexpr std::uint32_t connected = 8;   ///< an active open succeeded
inline constexpr std::uint32_t failed = 16;     ///< state().error is set
inline constexpr std::uint32_t urgent = 32;     ///< urgent data announced
}  // namespace level

struct BackendEvent {
  SocketRef socket = 0;
  std::uint32_t levels = 0;
};

/// What is known of a received datagram.
struct Datagram {
  Endpoint source;
  Endpoint destination;
  std::uint32_t interface_index = 0;
  int hop_limit = -1;      ///< -1: unknown
  int traffic_class = -1;  ///< -1: unknown
  std::size_t size = 0;    ///< of the whole datagram, also where the buffer was smaller
};

/// How to send a datagram; what is absent comes from the socket.
struct SendMeta {
  std::optional<Endpoint> destination;
  std::optional<IpAddress> source;
  std::uint32_t interface_index = 0;
  int hop_limit = -1;
  int traffic_class = -1;
};

/// An error that waits in the error queue of a socket (IP_RECVERR).
struct QueuedError {
  int error = 0;
  bool local = false;  ///< found before sending; else an ICMP message of this type and code told
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint32_t info = 0;  ///< the MTU, where the packet was too big
  IpAddress offender;      ///< who sent the ICMP message
  Endpoint destination;
  std::size_t size = 0;  ///< of what is quoted, also where the buffer was smaller
};

/// Where a stream stands.
struct StreamState {
  bool connected = false;  ///< three-way handshake done
  bool fin = false;        ///< the peer sent FIN and all its bytes were consumed
  int error = 0;           ///< errno of a failed connect or of an aborted connection
};

/// An interface as SIOCGIF* shows it.
struct InterfaceInfo {
  std::string name;
  std::uint32_t index = 0;
  IpCidr address;
  MacAddress mac;
  std::uint32_t mtu = 0;
  bool loopback = false;
  std::optional<IpAddress>
      gateway;  ///< of the default route, where it leads through this interface
};

/// Sockets that never block. One thread drives a backend. Functions that return int return 0 or an
/// errno value.
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  // The loop. descriptor() is polled for readability; -1 if time alone drives the backend.
  virtual int descriptor() const noexcept = 0;
  virtual void process(Instant now) = 0;
  virtual Instant next_deadline() = 0;
  virtual std::optional<BackendEvent> poll_event() = 0;
  /// Somebody to tell that events may have come up after process(), while bytes that arrived with
  /// them are still where the network left them.
  void set_late(std::function<void(Instant)> late) { late_ = std::move(late); }

  virtual Result<SocketRef, int> open(Transport transport, Family family) = 0;
  /// Closes in order: what was sent is still delivered, then FIN. The reference is void afterwards.
  virtual void close(SocketRef socket, Instant now) = 0;
  /// Closes with RST. The reference is void afterwards.
  virtual void abort(SocketRef socket, Instant now) = 0;

  virtual int bind(SocketRef socket, const Endpoint& local) = 0;
  /// 0: under way (connected or failed follows), or done for datagrams. After a failure the socket
  /// is as before the call: it can be connected again.
  virtual int connect(SocketRef socket, const Endpoint& remote, Instant now) = 0;
  /// Streams: connects with data (TCP Fast Open). Returns how much of it was taken; the rest is for
  /// send_space() once connected.
  virtual Result<std::size_t, int> connect_send(SocketRef socket, const Endpoint& remote,
                                                Bytes data, Instant now) = 0;
  /// Datagrams: forget the peer.
  virtual int disconnect(SocketRef socket) = 0;
  virtual int listen(SocketRef socket, int backlog, Instant now) = 0;
  /// EAGAIN if none waits.
  virtual Result<SocketRef, int> accept(SocketRef listener, Instant now) = 0;

  // Streams. Spans stay valid until the next call on the backend.
  virtual StreamState state(SocketRef socket) = 0;
  /// Room to write into; empty under back-pressure (level::writable follows).
  virtual std::span<const MutBytes> send_space(SocketRef socket) = 0;
  /// `bytes` of the room were filled. `urgent_end`: the last of them is urgent.
  virtual void sent(SocketRef socket, std::size_t bytes, bool urgent_end, Instant now) = 0;
  /// Bytes that arrived in order, up to an urgent mark.
  virtual std::span<const Bytes> received(SocketRef socket) = 0;
  virtual void consumed(SocketRef socket, std::size_t bytes, Instant now) = 0;
  /// The urgent byte, if the read position is at its mark; taking it consumes it.
  virtual std::optional<std::byte> take_urgent(SocketRef socket, Instant now) = 0;
  virtual void shutdown_send(SocketRef socket, Instant now) = 0;
  /// Bytes sent by the application that the peer has not acknowledged.
  virtual std::size_t unacknowledged(SocketRef socket) = 0;

  // Datagrams.
  /// EAGAIN under back-pressure (level::writable follows).
  virtual int send_datagram(SocketRef socket, Bytes payload, const SendMeta& meta, Instant now) = 0;
  /// EAGAIN if none waits; a pending asynchronous error is returned once.
  virtual Result<Datagram, int> receive_datagram(SocketRef socket, MutBytes buffer) = 0;

  /// The oldest entry of the error queue; an error that is pending for the next call goes with the
  /// last one.
  virtual std::optional<QueuedError> take_queued_error(SocketRef socket, MutBytes quote) = 0;

  virtual Endpoint local(SocketRef socket) = 0;
  /// ENOTCONN without a peer.
  virtual Result<Endpoint, int> remote(SocketRef socket) = 0;
  virtual int set_option(SocketRef socket, Option option, int value, Instant now) = 0;
  virtual Result<int, int> get_option(SocketRef socket, Option option) = 0;
  virtual int membership(SocketRef socket, const Membership& change) = 0;
  /// TCP_FASTOPEN_KEY: 16 or 32 octets.
  virtual int set_fast_open_keys(SocketRef socket, Bytes keys, Instant now) = 0;
  virtual std::size_t fast_open_keys(SocketRef socket, MutBytes out) = 0;
  virtual int set_congestion(SocketRef socket, std::string_view name) = 0;
  virtual std::string congestion(SocketRef socket) = 0;
  /// TCP_INFO as Linux lays it out; how many octets were written, 0 for a socket without.
  virtual std::size_t info(SocketRef socket, MutBytes out) = 0;

  /// The interfaces the program sees; empty: those of the host.
  virtual std::span<const InterfaceInfo> interfaces() = 0;

 protected:
  std::function<void(Instant)> late_;
};

}  // namespace tidewire::posix

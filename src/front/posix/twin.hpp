// Unix sockets that stand in for a program's Internet sockets.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "front/posix/call_limit.hpp"
#include "front/posix/fd.hpp"

namespace tidewire::posix {

struct UnixName {
  sockaddr_un address{};
  socklen_t size = sizeof(sockaddr_un);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

/// Makes twins and moves stream twins through the states of a TCP socket: unconnected, connected,
/// listening, accepted.
class Twins {
 public:
  /// `others_accept`: programs, too, take connections from the queues of listening twins. Then the
  /// thread that calls accept() must have made this, and CallLimit be usable.
  explicit Twins(bool others_accept = false);

  /// False if unix sockets cannot be had at all.
  bool usable() const noexcept { return static_cast<bool>(listener_); }

  /// An unconnected stream socket for a program.
  Fd unconnected() const;
  /// A pair for datagrams: the program's end and ours (non-blocking). SEQPACKET, because its end
  /// tells us when the last descriptor of the program is closed.
  std::optional<std::pair<Fd, Fd>> datagram_pair() const;
  /// Connects the program's end `app` and returns our end (non-blocking).
  Fd connect(int app) const;
  /// Binds and listens on the program's end; the name it got, none if that failed.
  std::optional<UnixName> listen(int app) const;
  /// Offers one connection to a listening twin; our end carries the name `serial`, and behind it
  /// what `about` says (see native_accept.hpp; at most 64 bytes).
  Fd offer(const UnixName& listener, std::uint32_t serial, Bytes about = {}) const;
  /// Takes the next offered connection; never blocks. `serial` names it, `flags` are accept4's.
  Fd accept(int app_listener, std::uint32_t& serial, int flags = 0);
  /// What accept() told of the program's end of an offered connection; none for any other socket.
  std::optional<std::uint32_t> serial_of(int app) const;

 private:
  Fd accept_raced(int listener, int flags);

  Fd listener_;
  UnixName name_;
  bool others_accept_;
  std::optional<CallLimit> limit_;
};

/// Bytes written into a connected twin to make it unwritable while a connect is under way.
struct Filler {
  std::size_t bytes = 0;
  int send_buffer = 0;  ///< what SO_SNDBUF was (as setsockopt takes it)
};
Filler fill(int app);
/// Takes the filler back; if `app` is a descriptor, its buffer size is restored first, so that the
/// program sees a writable edge. The last `keep` bytes stay queued.
void unfill(const Filler& filler, int app, int ours, std::size_t keep = 0);

/// What a queued datagram of `length` bytes counts for in SIOCOUTQ of its sender.
std::uint32_t datagram_truesize(std::size_t length);
/// What is queued in the peer of `fd`, in the unit of datagram_truesize().
std::uint32_t queued_truesize(int fd);

int native_int(int fd, int level, int name, int otherwise);
bool is_nonblocking(int fd);
/// Whether a connection lies in the queue of a listening twin.
bool something_waits(int listener);
/// Whether the other end of a twin is closed.
bool hung_up(int fd);

}  // namespace tidewire::posix

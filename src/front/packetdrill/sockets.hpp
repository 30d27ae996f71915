// Socket calls of Linux on a stack in virtual time. Every function returns what the call returns,
// or the negated errno value. The caller holds the host's lock.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "front/packetdrill/host.hpp"

namespace tidewire::packetdrill {

struct Socket {
  SocketId id;
  int domain = 0;
  bool nonblocking = false;
  bool listening = false;
  bool connecting = false;  ///< connect was called, its end not reported yet
  bool deferred = false;    ///< connect was called, what is written first starts the handshake
  bool inq = false;         ///< TCP_INQ: recvmsg says how much is left
  bool zerocopy = false;    ///< SO_ZEROCOPY
  std::uint32_t zerocopy_sends = 0;               ///< with MSG_ZEROCOPY; all are copied at once
  std::uint32_t zerocopy_told = 0;                ///< of these, reported through the error queue
  std::map<std::pair<int, int>, int> remembered;  ///< options without effect, by level and name
};

/// As sockets of `domain` want it: IPv4 addresses are mapped ones for IPv6 sockets.
Endpoint for_domain(Endpoint endpoint, int domain);

/// What epoll watches of one descriptor.
struct Watch {
  std::uint32_t events = 0;
  epoll_data_t data{};
  bool edge = false;           ///< something happened since the last report
  std::uint32_t seen = 0;      ///< bits that were true at the last look
  std::uint64_t arrivals = 0;  ///< of the socket at the last look
};

class Sockets {
 public:
  using Lock = Host::Lock;
  using Buffers = std::span<const iovec>;

  explicit Sockets(Host& host);
  ~Sockets();
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;

  /// True for a descriptor that was handed out here and not closed.
  bool owns(int fd) const { return sockets_.contains(fd) || epolls_.contains(fd); }

  int open(int domain, int type, int protocol);
  int bind(int fd, Bytes address);
  int listen(int fd, int backlog);
  int accept(Lock& lock, int fd, sockaddr* address, socklen_t* size);
  int connect(Lock& lock, int fd, Bytes address);
  int shutdown(int fd, int how);
  int close(int fd);

  ssize_t receive(Lock& lock, int fd, Buffers buffers, int flags);
  ssize_t send(Lock& lock, int fd, Buffers buffers, int flags, Bytes address);
  /// After recvmsg: what it says beside the data.
  void add_control(int fd, msghdr& message);
  /// What recvmsg(MSG_ERRQUEUE) gives: the end of sends with MSG_ZEROCOPY.
  ssize_t receive_completion(int fd, msghdr& message);
  int name(int fd, bool remote, sockaddr* address, socklen_t* size);

  int set_option(int fd, int level, int option, Bytes value);
  int get_option(int fd, int level, int option, void* value, socklen_t* size);
  int control(int fd, int command, int argument);        ///< fcntl
  int query(int fd, unsigned long request, int* value);  ///< ioctl

  int poll(Lock& lock, std::span<pollfd> fds, int timeout_ms);
  int epoll_open();
  int epoll_control(int epoll, int operation, int fd, const epoll_event* event);
  int epoll_wait(Lock& lock, int epoll, std::span<epoll_event> out, int timeout_ms);

 private:
  using Watches = std::map<int, Watch>;

  Socket* find(int fd);
  int add(SocketId id, int domain, bool nonblocking);
  bool holds(const Socket& s, std::uint16_t bits) const;
  bool readable(const Socket& s) const { return holds(s, kReadable); }
  int pending_error(Socket& s);
  int wait_connected(Lock& lock, Socket& s);
  std::uint32_t levels(const Socket& s) const;
  std::uint64_t arrivals(const Socket& s) const;
  void look();
  std::vector<epoll_event> collect(Watches& watches, std::size_t most);
  Instant deadline(int timeout_ms) const;
  ssize_t send_copied(Lock& lock, Socket& s, Buffers buffers, int flags, Bytes address);
  ssize_t send_opening(Lock& lock, Socket& s, Bytes data, bool wait, Bytes address);
  ssize_t send_some(Socket& s, Bytes data, bool more, bool urgent);
  static bool* own_flag(Socket& s, int level, int option);
  std::optional<std::vector<std::byte>> statistics_of(const Socket& s, int level, int option) const;
  int get_special(Socket& s, int level, int option, std::vector<std::byte>& out);

  Host& host_;
  std::map<int, std::unique_ptr<Socket>> sockets_;
  std::map<int, Watches> epolls_;
};

}  // namespace tidewire::packetdrill

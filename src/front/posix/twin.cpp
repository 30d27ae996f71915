#include "front/posix/twin.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "front/posix/native_accept.hpp"

namespace tidewire::posix {
namespace {

constexpr int backlog = 4096;
constexpr sa_family_t unix_family = AF_UNIX;

bool bind_to_free_name(int fd) {
  // An address of just the family makes the kernel choose an abstract name.
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&unix_family), sizeof unix_family) == 0;
}

UnixName name_of(int fd) {
  UnixName name;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name.address), &name.size) != 0) {
    name.size = sizeof(sa_family_t);
  }
  return name;
}

// Twins are made by one process, which does not fork once there are any.
pid_t own_pid() {
  static const pid_t pid = ::getpid();
  return pid;
}

UnixName serial_name(std::uint32_t serial, Bytes about) {
  UnixName name;
  name.address.sun_family = AF_UNIX;
  char* const begin = name.address.sun_path;
  char* const end = begin + sizeof name.address.sun_path;
  char* at = std::copy_n(native_accept::prefix, std::strlen(native_accept::prefix), begin + 1);
  at = std::to_chars(at, end, own_pid()).ptr;
  *at++ = '-';
  at = std::to_chars(at, end, serial).ptr;
  if (!about.empty() && about.size() < static_cast<std::size_t>(end - at)) {
    *at++ = '\0';
    std::memcpy(at, about.data(), about.size());
    at += about.size();
  }
  name.size = static_cast<socklen_t>(at - reinterpret_cast<char*>(&name.address));
  return name;
}

std::optional<std::uint32_t> serial_in(const UnixName& name) {
  const std::string_view path(name.address.sun_path, sizeof name.address.sun_path);
  constexpr std::string_view prefix = native_accept::prefix;
  if (path[0] != '\0' || path.substr(1, prefix.size()) != prefix) return std::nullopt;
  const char* const end = path.data() + path.size();
  pid_t pid = 0;
  std::uint32_t serial = 0;
  const char* at = std::from_chars(path.data() + 1 + prefix.size(), end, pid).ptr;
  if (pid != own_pid() || at == end || *at != '-') return std::nullopt;
  if (std::from_chars(at + 1, end, serial).ec != std::errc{}) return std::nullopt;
  return serial;
}

std::optional<std::uint32_t> peer_serial(int fd) {
  UnixName name;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&name.address), &name.size) != 0) {
    return std::nullopt;
  }
  return serial_in(name);
}

bool from_this_process(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && who.pid == own_pid();
}

Fd accept_at_once(int listener, int flags) {
  return Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | flags));
}

// Anyone may connect to an abstract name: only our own connections count.
template <typename Accept>
Fd accept_own(int listener, Accept accept) {
  for (int attempt = 0; attempt < 64; ++attempt) {
    if (!something_waits(listener)) return Fd{};
    Fd got = accept();
    if (!got) return got;
    if (from_this_process(got.get())) return got;
  }
  return Fd{};
}

}  // namespace

Twins::Twins(bool others_accept)
    : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      others_accept_(others_accept) {
  if (others_accept_) limit_.emplace();
  if (!bind_to_free_name(listener_.get()) || ::listen(listener_.get(), backlog) != 0) {
    listener_.reset();
  } else {
    name_ = name_of(listener_.get());
  }
}

Fd Twins::unconnected() const { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

std::optional<std::pair<Fd, Fd>> Twins::datagram_pair() const {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return std::nullopt;
  std::pair<Fd, Fd> pair{Fd(ends[0]), Fd(ends[1])};
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  return pair;
}

Fd Twins::connect(int app) const {
  if (::connect(app, name_.get(), name_.size) != 0) return Fd{};
  return accept_own(listener_.get(),
                    [&] { return accept_at_once(listener_.get(), SOCK_NONBLOCK); });
}

std::optional<UnixName> Twins::listen(int app) const {
  if (!bind_to_free_name(app) || ::listen(app, backlog) != 0) return std::nullopt;
  return name_of(app);
}

Fd Twins::offer(const UnixName& listener, std::uint32_t serial, Bytes about) const {
  Fd ours(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const UnixName own = serial_name(serial, about);
  if (!ours || ::bind(ours.get(), own.get(), own.size) != 0) return Fd{};
  if (::connect(ours.get(), listener.get(), listener.size) != 0) return Fd{};
  return ours;
}

// What was there a moment ago may be another's now, and the descriptor is the program's: it may
// wait. Its flags and its limit of time are the program's as well.
Fd Twins::accept_raced(int listener, int flags) {
  limit_->set();
  Fd got = accept_at_once(listener, flags);
  limit_->lift();
  return got;
}

Fd Twins::accept(int app_listener, std::uint32_t& serial, int flags) {
  Fd got = accept_own(app_listener, [&] {
    return others_accept_ ? accept_raced(app_listener, flags) : accept_at_once(app_listener, flags);
  });
  if (!got) return got;
  const auto found = peer_serial(got.get());
  if (!found) return Fd{};
  serial = *found;
  return got;
}

std::optional<std::uint32_t> Twins::serial_of(int app) const {
  const auto serial = peer_serial(app);
  return serial && from_this_process(app) ? serial : std::nullopt;
}

Filler fill(int app) {
  Filler filler;
  // getsockopt reports twice what setsockopt takes.
  filler.send_buffer = native_int(app, SOL_SOCKET, SO_SNDBUF, 0) / 2;
  const int least = 1;
  ::setsockopt(app, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
  const std::array<char, 1024> zeros{};
  for (int i = 0; i < 64; ++i) {
    const ssize_t n = ::send(app, zeros.data(), zeros.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) break;
    filler.bytes += static_cast<std::size_t>(n);
  }
  return filler;
}

void unfill(const Filler& filler, int app, int ours, std::size_t keep) {
  if (app >= 0) {
    ::setsockopt(app, SOL_SOCKET, SO_SNDBUF, &filler.send_buffer, sizeof filler.send_buffer);
  }
  std::array<char, 4096> sink;
  std::size_t left = filler.bytes - std::min(filler.bytes, keep);
  while (left > 0) {
    const ssize_t n = ::recv(ours, sink.data(), std::min(left, sink.size()), MSG_DONTWAIT);
    if (n <= 0) break;
    left -= static_cast<std::size_t>(n);
  }
}

std::uint32_t queued_truesize(int fd) {
  int value = 0;
  return ::ioctl(fd, SIOCOUTQ, &value) == 0 ? static_cast<std::uint32_t>(value) : 0;
}

std::uint32_t datagram_truesize(std::size_t length) {
  // Depends on the kernel's allocator only, so it is measured once for each length.
  static std::vector<std::uint32_t> known(65536, 0);
  if (length >= known.size()) return 0;
  if (known[length] != 0) return known[length];
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return 0;
  const Fd a(ends[0]);
  const Fd b(ends[1]);
  const std::vector<char> payload(length);
  if (::send(a.get(), payload.data(), length, MSG_NOSIGNAL) >= 0) {
    known[length] = queued_truesize(a.get());
  }
  return known[length];
}

int native_int(int fd, int level, int name, int otherwise) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : otherwise;
}

bool something_waits(int listener) {
  pollfd look{listener, POLLIN, 0};
  return ::poll(&look, 1, 0) == 1 && (look.revents & POLLIN) != 0;
}

bool hung_up(int fd) {
  pollfd look{fd, 0, 0};
  return ::poll(&look, 1, 0) > 0 && (look.revents & POLLHUP) != 0;
}

bool is_nonblocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; }

}  // namespace tidewire::posix

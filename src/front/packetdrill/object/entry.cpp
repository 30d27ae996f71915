// What packetdrill loads: the table of functions, each under the host's lock.
#include <dlfcn.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/bytes.hpp"
#include "front/packetdrill/interface.hpp"
#include "front/packetdrill/sockets.hpp"

namespace {

using tidewire::Bytes;
using tidewire::packetdrill::Flags;
using tidewire::packetdrill::Host;
using tidewire::packetdrill::Interface;
using tidewire::packetdrill::Sockets;

struct Object {
  explicit Object(const Flags& flags) : host(flags), sockets(host) {}
  Host host;
  Sockets sockets;
};

// For the functions of the preload hook, which get no userdata.
Object* current = nullptr;

/// Runs one call: settings first, what it caused afterwards; a negative result becomes errno.
template <typename F>
auto call(void* userdata, F&& f) {
  auto& object = *static_cast<Object*>(userdata);
  Host::Lock lock(object.host.mutex());
  object.host.refresh();
  const auto result = f(object, lock);
  object.host.settle();
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return decltype(result){-1};
}

Bytes bytes_of(const void* data, std::size_t size) {
  return data == nullptr ? Bytes{} : Bytes{static_cast<const std::byte*>(data), size};
}

void pd_free(void* userdata) {
  if (current == userdata) current = nullptr;
  delete static_cast<Object*>(userdata);
}

int pd_socket(void* u, int domain, int type, int protocol) {
  return call(u, [&](Object& o, Host::Lock&) { return o.sockets.open(domain, type, protocol); });
}
int pd_bind(void* u, int fd, const sockaddr* address, socklen_t size) {
  return call(u,
              [&](Object& o, Host::Lock&) { return o.sockets.bind(fd, bytes_of(address, size)); });
}
int pd_listen(void* u, int fd, int backlog) {
  return call(u, [&](Object& o, Host::Lock&) { return o.sockets.listen(fd, backlog); });
}
int pd_accept(void* u, int fd, sockaddr* address, socklen_t* size) {
  return call(u, [&](Object& o, Host::Lock& l) { return o.sockets.accept(l, fd, address, size); });
}
int pd_connect(void* u, int fd, const sockaddr* address, socklen_t size) {
  return call(u, [&](Object& o, Host::Lock& l) {
    return o.sockets.connect(l, fd, bytes_of(address, size));
  });
}

ssize_t receive(void* u, int fd, const iovec* buffers, std::size_t count, int flags) {
  return call(u, [&](Object& o, Host::Lock& l) {
    return o.sockets.receive(l, fd, {buffers, count}, flags);
  });
}
ssize_t send(void* u, int fd, const iovec* buffers, std::size_t count, int flags,
             Bytes address = {}) {
  return call(u, [&](Object& o, Host::Lock& l) {
    return o.sockets.send(l, fd, {buffers, count}, flags, address);
  });
}

ssize_t pd_recv(void* u, int fd, void* data, size_t size, int flags) {
  const iovec one{data, size};
  return receive(u, fd, &one, 1, flags);
}
ssize_t pd_read(void* u, int fd, void* data, size_t size) { return pd_recv(u, fd, data, size, 0); }
ssize_t pd_readv(void* u, int fd, const iovec* buffers, int count) {
  return receive(u, fd, buffers, static_cast<std::size_t>(count), 0);
}
ssize_t pd_recvfrom(void* u, int fd, void* data, size_t size, int flags, sockaddr*,
                    socklen_t* address_size) {
  const ssize_t n = pd_recv(u, fd, data, size, flags);
  if (n >= 0 && address_size != nullptr) *address_size = 0;  // a stream gives none
  return n;
}
ssize_t pd_recvmsg(void* u, int fd, msghdr* message, int flags) {
  if ((flags & MSG_ERRQUEUE) != 0) {
    return call(u,
                [&](Object& o, Host::Lock&) { return o.sockets.receive_completion(fd, *message); });
  }
  const ssize_t n = receive(u, fd, message->msg_iov, message->msg_iovlen, flags);
  if (n < 0) return n;
  message->msg_namelen = 0;
  message->msg_flags = 0;
  (void)call(u, [&](Object& o, Host::Lock&) {
    o.sockets.add_control(fd, *message);
    return 0;
  });
  return n;
}
ssize_t pd_sendto(void* u, int fd, const void* data, size_t size, int flags,
                  const sockaddr* address, socklen_t address_size) {
  const iovec one{const_cast<void*>(data), size};
  return send(u, fd, &one, 1, flags, bytes_of(address, address_size));
}
ssize_t pd_send(void* u, int fd, const void* data, size_t size, int flags) {
  return pd_sendto(u, fd, data, size, flags, nullptr, 0);
}
ssize_t pd_write(void* u, int fd, const void* data, size_t size) {
  return pd_send(u, fd, data, size, 0);
}
ssize_t pd_writev(void* u, int fd, const iovec* buffers, int count) {
  return send(u, fd, buffers, static_cast<std::size_t>(count), 0);
}
ssize_t pd_sendmsg(void* u, int fd, const msghdr* message, int flags) {
  return send(u, fd, message->msg_iov, message->msg_iovlen, flags,
              bytes_of(message->msg_name, message->msg_namelen));
}

int pd_fcntl(void* u, int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const int argument = va_arg(rest, int);
  va_end(rest);
  return call(u, [&](Object& o, Host::Lock&) { return o.sockets.control(fd, command, argument); });
}
int pd_ioctl(void* u, int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  int* value = va_arg(rest, int*);
  va_end(rest);
  return call(u, [&](Object& o, Host::Lock&) { return o.sockets.query(fd, request, value); });
}
int pd_close(void* u, int fd) {
  return call(u, [&](Object& o, Host::Lock&) { return o.sockets.close(fd); });
}
int pd_shutdown(void* u, int fd, int how) {
  return call(u, [&](Object& o, Host::Lock&) { return o.sockets.shutdown(fd, how); });
}
int pd_getsockopt(void* u, int fd, int level, int name, void* value, socklen_t* size) {
  return call(u, [&](Object& o, Host::Lock&) {
    return o.sockets.get_option(fd, level, name, value, size);
  });
}
int pd_setsockopt(void* u, int fd, int level, int name, const void* value, socklen_t size) {
  return call(u, [&](Object& o, Host::Lock&) {
    return o.sockets.set_option(fd, level, name, bytes_of(value, size));
  });
}
int pd_poll(void* u, pollfd* fds, nfds_t count, int timeout) {
  return call(u,
              [&](Object& o, Host::Lock& l) { return o.sockets.poll(l, {fds, count}, timeout); });
}

int pd_netdev_send(void* u, const void* data, size_t size) {
  return call(u, [&](Object& o, Host::Lock&) {
    o.host.arrive(bytes_of(data, size));
    return 0;
  });
}
int pd_netdev_receive(void* u, void* data, size_t* size, long long* micros) {
  return call(u, [&](Object& o, Host::Lock& l) {
    const auto sent = o.host.next_sent(l);
    const std::size_t n = sent ? std::min(*size, sent->bytes.size()) : 0;
    if (sent) std::memcpy(data, sent->bytes.data(), n);
    *size = n;
    *micros = (sent ? sent->at : o.host.now()).nanos() / 1'000;
    return 0;
  });
}
int pd_usleep(void* u, useconds_t micros) {
  return call(u, [&](Object& o, Host::Lock& l) {
    o.host.sleep(l, tidewire::Duration::micros(micros));
    return 0;
  });
}
int pd_gettimeofday(void* u, timeval* out, struct timezone*) {
  const int saved = errno;  // packetdrill looks at errno of the call before
  return call(u, [&](Object& o, Host::Lock& l) {
    const std::int64_t micros = o.host.read_clock(l);
    *out = {micros / 1'000'000, micros % 1'000'000};
    errno = saved;
    return 0;
  });
}

int pd_epoll_create(void* u, int size) {
  return call(u,
              [&](Object& o, Host::Lock&) { return size <= 0 ? -EINVAL : o.sockets.epoll_open(); });
}
int pd_epoll_ctl(void* u, int epoll, int operation, int fd, epoll_event* event) {
  return call(u, [&](Object& o, Host::Lock&) {
    return o.sockets.epoll_control(epoll, operation, fd, event);
  });
}
int pd_epoll_wait(void* u, int epoll, epoll_event* events, int most, int timeout) {
  return call(u, [&](Object& o, Host::Lock& l) {
    const auto room = static_cast<std::size_t>(most > 0 ? most : 0);
    return o.sockets.epoll_wait(l, epoll, {events, room}, timeout);
  });
}
int pd_pipe(void* u, int*) {
  return call(u, [](Object&, Host::Lock&) { return -ENOSYS; });
}
int pd_splice(void* u, int, loff_t*, int, loff_t*, size_t, unsigned) {
  return call(u, [](Object&, Host::Lock&) { return -ENOSYS; });
}

// --- for a preloaded companion: -2 means "not one of ours" ---

constexpr int not_ours = -2;

bool is_ours(int fd) {
  if (current == nullptr) return false;
  Host::Lock lock(current->host.mutex());
  return current->sockets.owns(fd);
}
int hooked_getsockopt(int fd, int level, int name, void* value, socklen_t* size) {
  return is_ours(fd) ? pd_getsockopt(current, fd, level, name, value, size) : not_ours;
}
int hooked_close(int fd) { return is_ours(fd) ? pd_close(current, fd) : not_ours; }

using Register = void (*)(int (*get)(int, int, int, void*, socklen_t*), int (*close)(int));

}  // namespace

extern "C" __attribute__((visibility("default"))) void packetdrill_interface_init(const char* text,
                                                                                  Interface* out) {
  const auto flags = tidewire::packetdrill::parse_flags(text == nullptr ? "" : text);
  if (!flags) {
    std::fprintf(stderr, "tidewire-packetdrill: %s\n", flags.error().c_str());
    std::exit(1);
  }
  auto object = std::make_unique<Object>(*flags);
  current = object.get();
  *out =
      Interface{object.release(),  pd_free,       pd_socket,       pd_bind,         pd_listen,
                pd_accept,         pd_connect,    pd_read,         pd_readv,        pd_recv,
                pd_recvfrom,       pd_recvmsg,    pd_write,        pd_writev,       pd_send,
                pd_sendto,         pd_sendmsg,    pd_fcntl,        pd_ioctl,        pd_close,
                pd_shutdown,       pd_getsockopt, pd_setsockopt,   pd_poll,         pd_netdev_send,
                pd_netdev_receive, pd_usleep,     pd_gettimeofday, pd_epoll_create, pd_epoll_ctl,
                pd_epoll_wait,     pd_pipe,       pd_splice};
  const auto hook = reinterpret_cast<Register>(::dlsym(RTLD_DEFAULT, "pd_preload_register"));
  if (hook != nullptr) hook(hooked_getsockopt, hooked_close);
}

// LD_PRELOAD companion for packetdrill with tidewire-packetdrill.so: packetdrill calls libc itself
// for some things. What concerns the object's descriptors goes to the object; what only serves real
// time (waiting for a jiffy, real-time priority, pinned memory) is left out, since time is virtual;
// and ports of peers are counted, so that two runs are the same.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

using Get = int (*)(int, int, int, void*, socklen_t*);
using Close = int (*)(int);

constexpr int not_the_objects = -2;

std::atomic<Get> object_get = nullptr;
std::atomic<Close> object_close = nullptr;

}  // namespace

#define TIDEWIRE_EXPORT extern "C" __attribute__((visibility("default")))

/// The object calls this when it is loaded.
TIDEWIRE_EXPORT void pd_preload_register(Get get, Close close) {
  object_get = get;
  object_close = close;
  // The commands of a script are none of our business.
  ::unsetenv("LD_PRELOAD");
}

TIDEWIRE_EXPORT int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  if (const Get get = object_get) {
    const int result = get(fd, level, name, value, size);
    if (result != not_the_objects) return result;
  }
  return static_cast<int>(::syscall(SYS_getsockopt, fd, level, name, value, size));
}

TIDEWIRE_EXPORT int close(int fd) {
  if (const Close close_there = object_close) {
    const int result = close_there(fd);
    if (result != not_the_objects) return result;
  }
  return static_cast<int>(::syscall(SYS_close, fd));
}

/// packetdrill asks the kernel for free ports, which the peers it plays then have. Nothing but
/// their numbers is used: these are the same in every run.
TIDEWIRE_EXPORT int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
  static std::atomic<std::uint16_t> port = 40'000;
  const auto result = static_cast<int>(::syscall(SYS_getsockname, fd, address, size));
  if (result != 0) return result;
  const in_port_t number = htons(++port);
  // The port stands at the same place in both.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  if (address->sa_family == AF_INET || address->sa_family == AF_INET6) {
    std::memcpy(reinterpret_cast<char*>(address) + offsetof(sockaddr_in, sin_port), &number,
                sizeof number);
  }
  return result;
}

/// packetdrill looks here for the start of a jiffy, ten times.
TIDEWIRE_EXPORT clock_t times(tms*) noexcept {
  static std::atomic<clock_t> ticks = 0;
  return ++ticks;
}

TIDEWIRE_EXPORT int sched_setscheduler(pid_t, int, const sched_param*) noexcept { return 0; }
TIDEWIRE_EXPORT int mlockall(int) noexcept { return 0; }

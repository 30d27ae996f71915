// In LD_PRELOAD of programs under `run --preload`: accept() takes connections from the queue of a
// twin without a stop, and reads the peer's address from the name of the twin's other end. It can
// fail at nothing: whatever it does not know goes the usual way, through the filter.
//
// No library of its own, no memory but one mapping: it must fit every program.
// Calls go on to the C library, whose accept() threads can be cancelled in.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "front/posix/native_accept.hpp"

#define TIDEWIRE_EXPORT extern "C" __attribute__((visibility("default")))

// Not there in every C library before glibc 2.34.
extern "C" void* dlsym(void*, const char*) noexcept __attribute__((weak));

namespace {

using tidewire::posix::native_accept::Kind;
using tidewire::posix::native_accept::prefix;
using tidewire::posix::native_accept::region;
using tidewire::posix::native_accept::region_bytes;

// A place for one call. A thread that is cancelled in accept() keeps its own for ever.
struct Slot {
  int busy;
  socklen_t size;
  sockaddr_un name;
};
static_assert(sizeof(Slot) <= 128 && offsetof(Slot, name) % 4 == 0);
constexpr std::size_t slot_bytes = 128;
constexpr std::size_t slots = region_bytes / slot_bytes;

enum State { unknown, mapping, ready, none };
int state = unknown;
// The process whose connections are genuine, as `run` has confirmed once.
pid_t trusted = 0;

long call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result = number;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
#else
#error "no system calls for this architecture"
#endif
}

bool map_region() {
  int expected = unknown;
  if (!__atomic_compare_exchange_n(&state, &expected, mapping, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE)) {
    return expected == ready;
  }
  const long got = call(SYS_mmap, static_cast<long>(region), region_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  const bool there = got == static_cast<long>(region);
  // A kernel that does not know the flag takes the address for a wish.
  if (!there && got > 0) call(SYS_munmap, got, region_bytes, 0, 0, 0, 0);
  __atomic_store_n(&state, there ? ready : none, __ATOMIC_RELEASE);
  return there;
}

Slot* take_slot() {
  const int known = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
  if (known != ready && (known != unknown || !map_region())) return nullptr;
  for (std::size_t i = 0; i < slots; ++i) {
    auto* slot = reinterpret_cast<Slot*>(region + i * slot_bytes);
    if (__atomic_exchange_n(&slot->busy, 1, __ATOMIC_ACQUIRE) == 0) return slot;
  }
  return nullptr;
}

void give_back(Slot* slot) { __atomic_store_n(&slot->busy, 0, __ATOMIC_RELEASE); }

void close_socket(int fd) { call(SYS_close, fd, 0, 0, 0, 0, 0); }

// What a name of `run` says; null for any other.
const char* after_zero_of_own(const Slot& slot) {
  const char* at = slot.name.sun_path;
  const char* const end = reinterpret_cast<const char*>(&slot.name) + slot.size;
  if (slot.size > sizeof slot.name || slot.name.sun_family != AF_UNIX || at >= end) return nullptr;
  if (*at++ != '\0') return nullptr;
  for (const char* p = prefix; *p != '\0'; ++p, ++at) {
    if (at >= end || *at != *p) return nullptr;
  }
  while (at < end && *at != '\0') ++at;
  return at + 1 < end ? at + 1 : nullptr;
}

// Who made the connection; 0 if that is not to be had. The slot's name has been read: there is
// room.
pid_t maker_of(Slot& slot, int fd) {
  auto& who = reinterpret_cast<ucred&>(slot.name);
  socklen_t size = sizeof who;
  const long got = call(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, reinterpret_cast<long>(&who),
                        reinterpret_cast<long>(&size), 0);
  return got == 0 ? who.pid : 0;
}

// As far as that is known: nobody can be asked about what is no connection.
bool is_of_run(Slot& slot, int fd) {
  const pid_t known = __atomic_load_n(&trusted, __ATOMIC_RELAXED);
  return known == 0 || maker_of(slot, fd) == known;
}

// Whether `run` made the connection: anyone may connect to an abstract name.
bool is_genuine(Slot& slot, int fd, bool tell) {
  const pid_t maker = maker_of(slot, fd);
  if (!tell && maker != 0 && maker == __atomic_load_n(&trusted, __ATOMIC_RELAXED)) return true;
  sockaddr_storage own;
  socklen_t size = sizeof own;
  own.ss_family = AF_UNSPEC;
  if (call(SYS_getsockname, fd, reinterpret_cast<long>(&own), reinterpret_cast<long>(&size), 0, 0,
           0) != 0 ||
      (own.ss_family != AF_INET && own.ss_family != AF_INET6)) {
    return false;
  }
  if (maker != 0) __atomic_store_n(&trusted, maker, __ATOMIC_RELAXED);
  return true;
}

bool is_twin(int listener) {
  int domain = AF_UNIX;
  socklen_t size = sizeof domain;
  return call(SYS_getsockopt, listener, SOL_SOCKET, SO_DOMAIN, reinterpret_cast<long>(&domain),
              reinterpret_cast<long>(&size), 0) == 0 &&
         domain != AF_UNIX;
}

// As the kernel: what does not fit is cut off, and the size is that of the whole.
int deliver(int fd, const char* from, socklen_t size, sockaddr* address, socklen_t* room) {
  if (address == nullptr) return fd;
  if (room == nullptr || static_cast<int>(*room) < 0) {
    errno = room == nullptr ? EFAULT : EINVAL;
    close_socket(fd);
    return -1;
  }
  auto* to = reinterpret_cast<char*>(address);
  for (socklen_t i = 0; i < size && i < *room; ++i) to[i] = from[i];
  *room = size;
  return fd;
}

// The errors that a unix socket shares with the Internet's. That nothing waits is for `run` to say,
// which may have a connection that is not offered yet; a limit of time has passed.
bool is_final(int listener, int error) {
  if (error == EAGAIN) return (call(SYS_fcntl, listener, F_GETFL, 0, 0, 0, 0) & O_NONBLOCK) == 0;
  return error == EINTR || error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM;
}

template <typename Next>
int accept_natively(int listener, sockaddr* address, socklen_t* room, Next next) {
  Slot* const slot = take_slot();
  if (slot == nullptr) return next(listener, address, room);
  for (;;) {
    slot->size = sizeof slot->name;
    const int fd = next(listener, reinterpret_cast<sockaddr*>(&slot->name), &slot->size);
    if (fd < 0 && is_final(listener, errno)) {
      const int error = errno;
      give_back(slot);
      errno = error;
      return -1;
    }
    if (fd < 0) break;
    char text[sizeof(sockaddr_un)];
    socklen_t size = 0;
    const char* said = after_zero_of_own(*slot);
    if (said == nullptr) {
      // A unix socket of the program's own; or somebody who has found the twin.
      if (slot->name.sun_family == AF_UNIX && is_twin(listener)) {
        close_socket(fd);
        continue;
      }
      const int result =
          deliver(fd, reinterpret_cast<const char*>(&slot->name), slot->size, address, room);
      give_back(slot);
      return result;
    }
    const auto kind = static_cast<Kind>(*said++);
    const char* const end = reinterpret_cast<const char*>(&slot->name) + slot->size;
    while (said < end) text[size++] = *said++;
    if (kind != Kind::plain && kind != Kind::told) {
      const bool ours = is_of_run(*slot, fd);
      close_socket(fd);
      if (ours) break;
      continue;
    }
    if (!is_genuine(*slot, fd, kind == Kind::told)) {
      close_socket(fd);
      continue;
    }
    give_back(slot);
    return deliver(fd, text, size, address, room);
  }
  give_back(slot);
  return next(listener, address, room);
}

template <typename Function>
Function next_of(Function* known, const char* name) {
  Function function = __atomic_load_n(known, __ATOMIC_RELAXED);
  if (function == nullptr && dlsym != nullptr) {
    function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
    __atomic_store_n(known, function, __ATOMIC_RELAXED);
  }
  return function;
}

int result_of(long result) {
  if (result >= 0) return static_cast<int>(result);
  errno = static_cast<int>(-result);
  return -1;
}

using Accept = int (*)(int, sockaddr*, socklen_t*);
using Accept4 = int (*)(int, sockaddr*, socklen_t*, int);
Accept next_accept = nullptr;
Accept4 next_accept4 = nullptr;

// Early: the loader's lock must not be taken in a signal handler, or after a fork among threads.
__attribute__((constructor)) void find_next() {
  next_of(&next_accept, "accept");
  next_of(&next_accept4, "accept4");
}

}  // namespace

TIDEWIRE_EXPORT int accept(int listener, sockaddr* address, socklen_t* room) {
  const Accept next = next_of(&next_accept, "accept");
  return accept_natively(listener, address, room, [next](int fd, sockaddr* name, socklen_t* size) {
    if (next != nullptr) return next(fd, name, size);
    return result_of(
        call(SYS_accept4, fd, reinterpret_cast<long>(name), reinterpret_cast<long>(size), 0, 0, 0));
  });
}

TIDEWIRE_EXPORT int accept4(int listener, sockaddr* address, socklen_t* room, int flags) {
  const Accept4 next = next_of(&next_accept4, "accept4");
  return accept_natively(listener, address, room,
                         [next, flags](int fd, sockaddr* name, socklen_t* size) {
                           if (next != nullptr) return next(fd, name, size, flags);
                           return result_of(call(SYS_accept4, fd, reinterpret_cast<long>(name),
                                                 reinterpret_cast<long>(size), flags, 0, 0));
                         });
}

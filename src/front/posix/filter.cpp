#include "front/posix/filter.hpp"

#include <asm/ioctls.h>
#include <linux/audit.h>
#include <linux/if_packet.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "front/posix/native_accept.hpp"

namespace tidewire::posix {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t native_arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t native_arch = AUDIT_ARCH_AARCH64;
#else
#error "no filter for this architecture"
#endif
constexpr std::uint32_t x32_bit = 0x40000000U;

constexpr std::uint32_t notify = SECCOMP_RET_USER_NOTIF;
constexpr std::uint32_t allow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t no_such_call = SECCOMP_RET_ERRNO | ENOSYS;

constexpr std::uint32_t low_half(unsigned argument) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + argument * 8U);
}

class Program {
 public:
  void load(std::uint32_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
  void load_number() { load(offsetof(seccomp_data, nr)); }
  void load_arch() { load(offsetof(seccomp_data, arch)); }
  void give(std::uint32_t action) { emit(BPF_RET | BPF_K, 0, 0, action); }
  void give_if_equal(std::uint32_t value, std::uint32_t action) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    give(action);
  }
  void give_if_any(std::uint32_t bits, std::uint32_t action) {
    emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
    give(action);
  }
  void give_unless_equal(std::uint32_t value, std::uint32_t action) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
    give(action);
  }
  void give_if_at_least(std::uint32_t value, std::uint32_t action) {
    emit(BPF_JMP | BPF_JGE | BPF_K, 0, 1, value);
    give(action);
  }
  /// Runs `body` for system call `number`; the body must end every path with give().
  template <typename Body>
  void when(long number, Body body) {
    const std::size_t jump = code_.size();
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, static_cast<std::uint32_t>(number));
    body();
    code_[jump].jf = static_cast<std::uint8_t>(code_.size() - jump - 1);
  }
  std::vector<sock_filter> take() { return std::move(code_); }

 private:
  void emit(int code, int jt, int jf, std::uint32_t k) {
    code_.push_back({static_cast<std::uint16_t>(code), static_cast<std::uint8_t>(jt),
                     static_cast<std::uint8_t>(jf), k});
  }
  std::vector<sock_filter> code_;
};

void pointer_given(Program& p, unsigned argument) {
  p.load(low_half(argument));
  p.give_unless_equal(0, notify);
  p.load(low_half(argument) + 4);
  p.give_unless_equal(0, notify);
  p.give(allow);
}

void native_call(Program& p, unsigned argument) {
  p.load(low_half(argument) + 4);
  p.give_unless_equal(native_accept::region >> 32, notify);
  p.load(low_half(argument));
  p.give_if_at_least(native_accept::region_bytes, notify);
  p.give(allow);
}

void socket_call(Program& p) {
  p.load(low_half(0));
  p.give_if_equal(AF_INET, notify);
  p.give_if_equal(AF_INET6, notify);
  p.give_if_equal(AF_PACKET, notify);
  p.give_if_equal(AF_NETLINK, notify);
  // These put their data on TCP or UDP sockets of the kernel's own.
  for (const std::uint32_t family : {AF_SMC, AF_RDS, AF_RXRPC}) {
    p.give_if_equal(family, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
  }
  p.give(allow);
}

void seccomp_call(Program& p) {
  // Only one listener can be in force: whoever asks for another is told so by the kernel.
  p.load(low_half(1));
  p.give_if_any(SECCOMP_FILTER_FLAG_NEW_LISTENER, notify);
  p.give(allow);
}

void ioctl_call(Program& p) {
  p.load(low_half(1));
  for (const std::uint32_t request :
       {std::uint32_t{FIONREAD}, std::uint32_t{SIOCOUTQ}, std::uint32_t{SIOCATMARK}}) {
    p.give_if_equal(request, notify);
  }
  for (const std::uint32_t request : {0x8906U, 0x8907U}) p.give_if_equal(request, notify);
  // SIOCGIFNAME .. SIOCGIFCOUNT: questions about interfaces.
  for (const std::uint32_t request :
       {SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR,
        SIOCGIFNETMASK, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFTXQLEN}) {
    p.give_if_equal(request, notify);
  }
  p.give(allow);
}

}  // namespace

std::vector<sock_filter> build_filter(const FilterOptions& options) {
  Program p;
  p.load_arch();
  p.give_unless_equal(native_arch, no_such_call);
  p.load_number();
#if defined(__x86_64__)
  p.give_if_at_least(x32_bit, no_such_call);
#endif
  p.when(SYS_ioctl, [&] { ioctl_call(p); });
  p.when(SYS_sendto, [&] { pointer_given(p, 4); });
  p.when(SYS_recvfrom, [&] {
    // A unix socket would take these for something else.
    p.load(low_half(3));
    p.give_if_any(MSG_TRUNC | MSG_ERRQUEUE, notify);
    pointer_given(p, 4);
  });
  p.when(SYS_socket, [&] { socket_call(p); });
  if (options.native_accept) {
    for (const long number : {SYS_accept, SYS_accept4}) p.when(number, [&] { native_call(p, 1); });
    p.when(SYS_getsockopt, [&] { native_call(p, 3); });
  }
  for (const long number : {SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
                            SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt,
                            SYS_shutdown, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg}) {
    p.give_if_equal(static_cast<std::uint32_t>(number), notify);
  }
  p.give_if_equal(SYS_io_uring_setup, options.allow_io_uring ? notify : no_such_call);
  p.when(SYS_seccomp, [&] { seccomp_call(p); });
  p.give(allow);
  return p.take();
}

}  // namespace tidewire::posix

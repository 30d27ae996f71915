// Options, modes and queries of a socket.
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "front/abi/errno_map.hpp"
#include "front/abi/option_values.hpp"
#include "front/abi/options.hpp"
#include "front/abi/stack_options.hpp"
#include "front/abi/tcp_info.hpp"
#include "front/packetdrill/sockets.hpp"

namespace tidewire::packetdrill {
namespace {

using posix::Keeper;
using posix::Option;
using posix::OptionRow;

bool applies(const OptionRow& row, const Socket& s) {
  if (row.keeper == Keeper::refused || !row.streams) return false;
  return row.level != IPPROTO_IPV6 || s.domain == AF_INET6;
}

// Linux keeps twice of what it is asked for, and not less than this.
constexpr int least_send_buffer = 4608;
constexpr int least_receive_buffer = 2304;

int fixed_value(const Socket& s, int option) {
  switch (option) {
    case SO_TYPE:
      return SOCK_STREAM;
    case SO_DOMAIN:
      return s.domain;
    case SO_PROTOCOL:
      return IPPROTO_TCP;
    default:  // SO_ACCEPTCONN
      return s.listening ? 1 : 0;
  }
}

}  // namespace

/// Options that only these calls know of.
bool* Sockets::own_flag(Socket& s, int level, int option) {
  if (level == SOL_SOCKET && option == SO_ZEROCOPY) return &s.zerocopy;
  if (level == IPPROTO_TCP && option == TCP_INQ) return &s.inq;
  return nullptr;
}

int Sockets::set_option(int fd, int level, int option, Bytes value) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  if (bool* own = own_flag(*s, level, option)) {
    if (value.size() < sizeof(int)) return -EINVAL;
    const int wanted = posix::read_int(value);
    if (wanted != 0 && wanted != 1) return -EINVAL;
    *own = wanted != 0;
    return 0;
  }
  const OptionRow* row = posix::find_option(level, option);
  if (row == nullptr || !applies(*row, *s) || row->keeper == Keeper::fixed) return -ENOPROTOOPT;
  Stack& stack = host_.stack();
  if (level == IPPROTO_TCP && option == TCP_CONGESTION) {
    const std::string name = posix::read_text(value);
    const auto done = stack.set_congestion_control(s->id, name, host_.now());
    return done ? 0 : -ENOENT;
  }
  if (level == IPPROTO_TCP && option == TCP_FASTOPEN_KEY) {
    const auto done = stack.set_fast_open_keys(s->id, value, host_.now());
    return done ? 0 : -posix::errno_of(done.error());
  }
  if (row->option == Option::linger) {
    struct linger wanted{};
    if (value.size() < sizeof wanted) return -EINVAL;
    std::memcpy(&wanted, value.data(), sizeof wanted);
    const int seconds = wanted.l_onoff != 0 ? wanted.l_linger : -1;
    return -posix::set_stack_option(stack, s->id, Option::linger, seconds, host_.now());
  }
  const bool byte_allowed = level == IPPROTO_IP && !value.empty();
  if (value.size() < sizeof(int) && !byte_allowed) return -EINVAL;
  int number = posix::read_int(value);
  if (row->flag) number = number != 0 ? 1 : 0;
  if (number < row->least || number > row->most) return -EINVAL;
  if (row->option == Option::send_buffer || row->option == Option::receive_buffer) {
    const int least = row->option == Option::send_buffer ? least_send_buffer : least_receive_buffer;
    number = std::max(std::min(number, 0x3fff'ffff) * 2, least);
  }
  if (row->option != Option::none) {
    return -posix::set_stack_option(stack, s->id, row->option, number, host_.now());
  }
  s->remembered[{level, option}] = number;
  return 0;
}

/// Answers that are statistics only; packetdrill asks for them beside TCP_INFO.
std::optional<std::vector<std::byte>> Sockets::statistics_of(const Socket& s, int level,
                                                             int option) const {
  // No congestion control here has figures in Linux's form, which CUBIC has not there either.
  if (level == IPPROTO_TCP && option == TCP_CC_INFO) return std::vector<std::byte>{};
  if (level != SOL_SOCKET || option != SO_MEMINFO) return std::nullopt;
  const auto about = host_.stack().info(s.id);
  const auto of = [&](SocketOption which) {
    const auto value = host_.stack().get_option(s.id, which);
    return value ? static_cast<std::uint32_t>(*value) : 0U;
  };
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  memory[SK_MEMINFO_RMEM_ALLOC] = about ? about->receive_queue : 0;
  memory[SK_MEMINFO_RCVBUF] = of(SocketOption::receive_buffer);
  memory[SK_MEMINFO_SNDBUF] = of(SocketOption::send_buffer);
  memory[SK_MEMINFO_WMEM_QUEUED] = about ? about->send_queue : 0;
  return posix::raw_of(memory);
}

int Sockets::get_special(Socket& s, int level, int option, std::vector<std::byte>& out) {
  const auto about = host_.stack().info(s.id);
  if (level == IPPROTO_TCP && option == TCP_INFO) {
    posix::LinuxTcpInfo info;
    if (about) info = posix::linux_tcp_info(*about, host_.now());
    out = posix::raw_of(info);
    return 0;
  }
  if (level == IPPROTO_TCP && option == TCP_CONGESTION) {
    out.resize(16);
    const std::string_view name = about ? about->congestion_control : std::string_view{};
    std::memcpy(out.data(), name.data(), std::min(name.size(), out.size() - 1));
    return 0;
  }
  if (level == IPPROTO_TCP && option == TCP_FASTOPEN_KEY) {
    out.resize(2 * 16);
    const auto size = host_.stack().fast_open_keys(s.id, out);
    if (!size) return -posix::errno_of(size.error());
    out.resize(std::min(out.size(), *size));
    return 0;
  }
  if (level == SOL_SOCKET && option == SO_ERROR) {
    out = posix::raw_of(pending_error(s));
    return 0;
  }
  if (level == SOL_SOCKET && option == SO_LINGER) {
    const auto seconds = posix::get_stack_option(host_.stack(), s.id, Option::linger);
    const int value = seconds ? *seconds : -1;
    out = posix::raw_of(linger{value < 0 ? 0 : 1, std::max(value, 0)});
    return 0;
  }
  const auto mtu = host_.stack().get_option(s.id, SocketOption::mtu);
  if (option != IP_MTU || !mtu) return option == IP_MTU ? -ENOTCONN : -ENOPROTOOPT;
  out = posix::raw_of(static_cast<int>(*mtu));
  return 0;
}

int Sockets::get_option(int fd, int level, int option, void* value, socklen_t* size) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  const OptionRow* row = posix::find_option(level, option);
  auto statistics = statistics_of(*s, level, option);
  if (const bool* own = own_flag(*s, level, option)) statistics = posix::raw_of(*own ? 1 : 0);
  if (!statistics && (row == nullptr || !applies(*row, *s))) return -ENOPROTOOPT;
  if (size == nullptr || value == nullptr) return -EFAULT;
  if (static_cast<int>(*size) < 0) return -EINVAL;
  std::vector<std::byte> raw;
  const bool plain =
      !statistics && (row->option == Option::send_buffer || row->option == Option::receive_buffer ||
                      row->option == Option::max_pacing_rate);
  if (statistics) {
    raw = *statistics;
  } else if (row->keeper == Keeper::special && !plain) {
    if (const int error = get_special(*s, level, option, raw); error != 0) return error;
  } else if (row->keeper == Keeper::fixed) {
    raw = posix::raw_of(fixed_value(*s, option));
  } else if (row->option != Option::none) {
    const auto number = posix::get_stack_option(host_.stack(), s->id, row->option);
    if (!number) return -number.error();
    raw = posix::raw_of(*number);
  } else {
    raw = posix::raw_of(s->remembered[{level, option}]);
  }
  const std::size_t n = std::min<std::size_t>(*size, raw.size());
  std::memcpy(value, raw.data(), n);
  *size = static_cast<socklen_t>(n);
  return 0;
}

int Sockets::control(int fd, int command, int argument) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  if (command == F_GETFL) return O_RDWR | (s->nonblocking ? O_NONBLOCK : 0);
  if (command != F_SETFL) return -EINVAL;
  s->nonblocking = (argument & O_NONBLOCK) != 0;
  return 0;
}

int Sockets::query(int fd, unsigned long request, int* value) {
  Socket* s = find(fd);
  if (s == nullptr) return -EBADF;
  SocketOption option = SocketOption::unread;
  switch (request) {
    case SIOCINQ:
      break;
    case SIOCOUTQ:
      option = SocketOption::unacked;
      break;
    case SIOCOUTQNSD:
      option = SocketOption::unsent;
      break;
    case SIOCATMARK:
      option = SocketOption::urgent_mark;
      break;
    default:
      return -EINVAL;
  }
  if (s->listening && option != SocketOption::urgent_mark) return -EINVAL;
  if (value == nullptr) return -EFAULT;
  const auto number = host_.stack().get_option(s->id, option);
  if (!number) return -posix::errno_of(number.error());
  *value = static_cast<int>(*number);
  return 0;
}

}  // namespace tidewire::packetdrill

// setsockopt, getsockopt.
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "front/abi/option_values.hpp"
#include "front/abi/options.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr int max_value = 256;

bool is_stamp_option(int name) {
  return name == SO_TIMESTAMP_OLD || name == SO_TIMESTAMPNS_OLD || name == SO_TIMESTAMP_NEW ||
         name == SO_TIMESTAMPNS_NEW;
}

bool applies(const OptionRow& row, const Socket& s) {
  if (row.level == IPPROTO_IPV6 && s.domain != AF_INET6) return false;
  if (row.level == IPPROTO_UDPLITE && s.transport != Transport::udp_lite) return false;
  return s.is_stream() ? row.streams : row.datagrams;
}

int fixed_value(const Socket& s, int name) {
  switch (name) {
    case SO_TYPE:
      return s.type;
    case SO_DOMAIN:
      return s.domain;
    case SO_PROTOCOL:
      return s.protocol;
    default:  // SO_ACCEPTCONN
      return s.phase == Phase::listening && !s.shut_read ? 1 : 0;
  }
}

}  // namespace

Outcome Netd::on_setsockopt(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  if (s.phase == Phase::netlink) return netlink_option(call, s);
  const int level = static_cast<int>(call.args[1]);
  const int name = static_cast<int>(call.args[2]);
  const auto size = static_cast<std::int32_t>(call.args[4]);
  // A filter of ICMP types: nothing but what the socket asked for comes anyway.
  if (s.type == SOCK_RAW && (level == SOL_RAW || level == IPPROTO_ICMPV6)) return Outcome::ok();
  const OptionRow* row = find_option(level, name);
  if (row == nullptr || !applies(*row, s)) return Outcome::error(ENOPROTOOPT);
  if (row->keeper == Keeper::refused) return Outcome::error(row->least);
  if (row->keeper == Keeper::native) {
    note_inherited(call, s);
    return Outcome::through();
  }
  if (row->keeper == Keeper::fixed) return Outcome::error(ENOPROTOOPT);
  if (size < 0) return Outcome::error(EINVAL);
  std::vector<std::byte> raw(static_cast<std::size_t>(std::min(size, max_value)));
  if (!tasks_.read(call.tid, call.args[3], raw)) return Outcome::error(EFAULT);
  if (row->keeper == Keeper::special) return set_special(s, *row, raw, t.app);
  // Options of IP may be given as one byte.
  const bool byte_allowed = level == IPPROTO_IP && !raw.empty();
  if (raw.size() < sizeof(int) && !byte_allowed) return Outcome::error(EINVAL);
  int value = read_int(raw);
  if (row->flag) value = value != 0 ? 1 : 0;
  if (value < row->least || value > row->most) return Outcome::error(EINVAL);
  if (row->keeper == Keeper::backend) {
    const int error = backend_.set_option(s.ref, row->option, value, now_);
    if (error != 0) return Outcome::error(error);
  }
  s.options[{level, name}] = value;
  if (row->option == Option::receive_errors && value == 0) forget_errors(s, t.app);
  return Outcome::ok();
}

// What is set on a listener's twin is not on those of its connections.
void Netd::note_inherited(const Call& call, Socket& s) {
  const auto name = static_cast<int>(call.args[2]);
  if (!s.is_stream() || std::ranges::find(inherited_options, name) == std::end(inherited_options)) {
    return;
  }
  int value = 0;
  if (static_cast<int>(call.args[1]) != SOL_SOCKET || static_cast<int>(call.args[4]) < 4 ||
      !tasks_.read(call.tid, call.args[3], std::as_writable_bytes(std::span(&value, 1)))) {
    return;
  }
  s.options[{SOL_SOCKET, name}] = value;
}

Outcome Netd::set_special(Socket& s, const OptionRow& row, Bytes raw, int app) {
  switch (row.option) {
    case Option::linger: {
      struct linger value{};
      if (raw.size() < sizeof value) return Outcome::error(EINVAL);
      std::memcpy(&value, raw.data(), sizeof value);
      s.options[{SOL_SOCKET, SO_LINGER}] = value.l_onoff != 0 ? value.l_linger : -1;
      s.linger_set = value.l_onoff != 0;
      s.linger_zero = s.linger_set && value.l_linger == 0;
      return Outcome::from(
          backend_.set_option(s.ref, Option::linger, s.linger_set ? value.l_linger : -1, now_));
    }
    case Option::send_buffer:
    case Option::receive_buffer:
      if (raw.size() < sizeof(int)) return Outcome::error(EINVAL);
      return set_buffer(s, row, read_int(raw), app);
    default:
      break;
  }
  if (row.level == IPPROTO_TCP && row.name == TCP_FASTOPEN_KEY) {
    return Outcome::from(backend_.set_fast_open_keys(s.ref, raw, now_));
  }
  if (row.level == IPPROTO_TCP && row.name == TCP_CONGESTION) {
    return Outcome::from(backend_.set_congestion(s.ref, read_text(raw)));
  }
  if (row.option == Option::max_pacing_rate) return set_pacing_rate(s, raw);
  if (row.level == SOL_SOCKET && is_stamp_option(row.name)) {
    if (raw.size() < sizeof(int)) return Outcome::error(EINVAL);
    // One form at a time, and switching any of them off is off.
    s.stamp_option = read_int(raw) != 0 ? row.name : 0;
    return Outcome::ok();
  }
  if (row.level == SOL_SOCKET && row.name == SO_MEMINFO) return Outcome::error(ENOPROTOOPT);
  if (row.level == SOL_SOCKET && row.name == SO_BINDTODEVICE) {
    const std::string name = read_text(raw);
    for (const InterfaceInfo& i : backend_.interfaces()) {
      if (i.name == name) return Outcome::ok();
    }
    return Outcome::from(name.empty() ? 0 : ENODEV);
  }
  if (row.level == IPPROTO_IP && row.name == IP_OPTIONS)
    return Outcome::from(raw.empty() ? 0 : EINVAL);
  const auto change = parse_membership(row.level, row.name, raw);
  if (!change) return Outcome::error(change.error());
  return Outcome::from(backend_.membership(s.ref, *change));
}

// The twin holds bytes too: its buffer follows what the program asks for. What a program may
// receive is limited by our end's buffer, what it may send by its own.
Outcome Netd::set_buffer(Socket& s, const OptionRow& row, int value, int app) {
  const bool send = row.option == Option::send_buffer;
  const int error = backend_.set_option(s.ref, row.option, value, now_);
  if (error != 0) return Outcome::error(error);
  s.options[{SOL_SOCKET, row.name}] = value;
  if (!send && s.peer) {
    ::setsockopt(s.peer.get(), SOL_SOCKET, SO_SNDBUF, &value, sizeof value);
  }
  if (send && s.filler) {
    s.send_buffer_wanted = value;
    return Outcome::ok();
  }
  // See leave_tail.
  if (send && s.is_stream() && !tasks_.can_copy()) return Outcome::ok();
  if (app < 0) return Outcome::through();
  return Outcome::from(::setsockopt(app, SOL_SOCKET, row.name, &value, sizeof value) == 0 ? 0
                                                                                          : errno);
}

// 32 bits or 64, as the kernel takes it. More than 32 bits hold counts as no limit.
Outcome Netd::set_pacing_rate(Socket& s, Bytes raw) {
  if (raw.size() < sizeof(int)) return Outcome::error(EINVAL);
  std::uint64_t rate = static_cast<std::uint32_t>(read_int(raw));
  if (raw.size() >= sizeof rate) std::memcpy(&rate, raw.data(), sizeof rate);
  const auto value =
      static_cast<int>(static_cast<std::uint32_t>(std::min<std::uint64_t>(rate, 0xffffffffU)));
  s.options[{SOL_SOCKET, SO_MAX_PACING_RATE}] = value;
  return Outcome::from(backend_.set_option(s.ref, Option::max_pacing_rate, value, now_));
}

Outcome Netd::on_getsockopt(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Socket& s = *t.socket;
  if (s.phase == Phase::netlink) return netlink_option(call, s);
  const int level = static_cast<int>(call.args[1]);
  const int name = static_cast<int>(call.args[2]);
  const OptionRow* row = find_option(level, name);
  if (row == nullptr || row->keeper == Keeper::refused || !applies(*row, s)) {
    if (row != nullptr && row->keeper == Keeper::refused && applies(*row, s)) {
      return Outcome::error(row->least == EOPNOTSUPP ? EOPNOTSUPP : ENOPROTOOPT);
    }
    const bool foreign_level = level != SOL_SOCKET && level != IPPROTO_IP && level != s.protocol;
    return Outcome::error(foreign_level && s.domain == AF_INET ? EOPNOTSUPP : ENOPROTOOPT);
  }
  if (row->keeper == Keeper::native) return Outcome::through();
  if (row->name == SO_ERROR && level == SOL_SOCKET && t.app < 0 && s.phase == Phase::reset &&
      (s.error == 0 || s.error == ECONNRESET)) {
    // The twin says the same, and asking it clears its error.
    s.error = 0;
    return Outcome::through();
  }
  std::int32_t room = 0;
  if (!tasks_.read(call.tid, call.args[4], std::as_writable_bytes(std::span(&room, 1)))) {
    return Outcome::error(EFAULT);
  }
  if (room < 0) return Outcome::error(EINVAL);
  const auto value = option_value(s, *row, t.app);
  if (!value) return Outcome::error(value.error());
  Bytes bytes = *value;
  // IP options shrink to a byte for callers that ask for one.
  if (level == IPPROTO_IP && room > 0 && room < 4 && bytes.size() == sizeof(int)) {
    bytes = bytes.first(1);
  }
  bytes = bytes.first(std::min(bytes.size(), static_cast<std::size_t>(room)));
  const auto size = static_cast<std::int32_t>(bytes.size());
  const bool written =
      tasks_.write(call.tid, call.args[3], bytes, call.args[4], std::as_bytes(std::span(&size, 1)));
  return written ? Outcome::ok() : Outcome::error(EFAULT);
}

Result<std::vector<std::byte>, int> Netd::option_value(Socket& s, const OptionRow& row, int app) {
  switch (row.keeper) {
    case Keeper::fixed:
      return raw_of(fixed_value(s, row.name));
    case Keeper::stored:
      return raw_of(s.option(row.level, row.name));
    case Keeper::backend: {
      const auto value = backend_.get_option(s.ref, row.option);
      return raw_of(value ? *value : s.option(row.level, row.name));
    }
    default:
      return special_value(s, row, app);
  }
}

Result<std::vector<std::byte>, int> Netd::special_value(Socket& s, const OptionRow& row, int app) {
  if (row.level == SOL_SOCKET) {
    switch (row.name) {
      case SO_ERROR:
        return raw_of(so_error(s, app));
      case SO_LINGER:
        return raw_of(
            linger{s.linger_set ? 1 : 0, s.linger_set ? s.option(SOL_SOCKET, SO_LINGER) : 0});
      case SO_MAX_PACING_RATE: {
        const int rate = s.option(SOL_SOCKET, SO_MAX_PACING_RATE, -1);
        return raw_of(rate == -1 ? ~std::uint64_t{0}
                                 : std::uint64_t{static_cast<std::uint32_t>(rate)});
      }
      case SO_MEMINFO:
        return memory_info(s, app);
      case SO_PEERCRED:
        return raw_of(ucred{0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)});
      case SO_SNDBUF:
        if (s.send_buffer_wanted > 0) return raw_of(2 * s.send_buffer_wanted);
        if (s.filler) return raw_of(2 * s.filler->send_buffer);
        [[fallthrough]];
      case SO_RCVBUF:
        if (app >= 0 && tasks_.can_copy()) return raw_of(native_int(app, SOL_SOCKET, row.name, 0));
        return raw_of(2 * s.option(SOL_SOCKET, row.name, 212992 / 2));
      case SO_BINDTODEVICE:
        return std::vector<std::byte>{};  // not bound
      default:
        return raw_of(s.stamp_option == row.name ? 1 : 0);
    }
  }
  if (row.level == IPPROTO_TCP && row.name == TCP_CONGESTION) {
    std::vector<std::byte> name(16);
    const std::string text = backend_.congestion(s.ref);
    std::memcpy(name.data(), text.data(), std::min(text.size(), name.size() - 1));
    return name;
  }
  if (row.level == IPPROTO_TCP && row.name == TCP_FASTOPEN_KEY) {
    std::vector<std::byte> keys(32);
    keys.resize(std::min(backend_.fast_open_keys(s.ref, keys), keys.size()));
    return keys;
  }
  if (row.level == IPPROTO_TCP) {
    std::vector<std::byte> info(max_value * 2);
    info.resize(backend_.info(s.ref, info));
    if (info.empty()) return fail(ENOPROTOOPT);
    if (s.phase == Phase::listening && !s.shut_read)
      info[offsetof(struct tcp_info, tcpi_state)] = std::byte{TCP_LISTEN};
    return info;
  }
  if (row.name == IP_OPTIONS) return std::vector<std::byte>{};
  if (row.name == IP_MTU || row.name == IPV6_MTU) return path_mtu(s);
  if (row.name == IP_MULTICAST_IF) return raw_of(in_addr{});
  return fail(ENOPROTOOPT);
}

Result<std::vector<std::byte>, int> Netd::path_mtu(Socket& s) {
  const auto mtu = backend_.get_option(s.ref, Option::path_mtu);
  if (!mtu) return fail(ENOTCONN);
  return raw_of(*mtu);
}

// SO_MEMINFO, indexed by the SK_MEMINFO_* of linux/sock_diag.h.
std::vector<std::byte> Netd::memory_info(Socket& s, int app) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> all{};
  const std::optional<SocketUse> use = use_of(s.ref);
  const auto buffer = [&](int name) {
    return app >= 0 ? static_cast<std::uint32_t>(native_int(app, SOL_SOCKET, name, 0)) : 0;
  };
  all[SK_MEMINFO_RMEM_ALLOC] = use ? static_cast<std::uint32_t>(use->unread) : 0;
  all[SK_MEMINFO_RCVBUF] = buffer(SO_RCVBUF);
  all[SK_MEMINFO_SNDBUF] =
      s.filler ? static_cast<std::uint32_t>(2 * s.filler->send_buffer) : buffer(SO_SNDBUF);
  all[SK_MEMINFO_WMEM_QUEUED] = static_cast<std::uint32_t>(unsent(s));
  all[SK_MEMINFO_WMEM_ALLOC] = all[SK_MEMINFO_WMEM_QUEUED];
  const Bytes raw = std::as_bytes(std::span(all));
  return {raw.begin(), raw.end()};
}

// Our error says why; the twin can only say ECONNRESET, and its error must be cleared with ours.
int Netd::so_error(Socket& s, int app) {
  const int native = app >= 0 ? native_int(app, SOL_SOCKET, SO_ERROR, 0) : 0;
  const int ours = std::exchange(s.error, 0);
  if (ours != 0 && s.phase == Phase::datagram && app >= 0) {
    drop_error_tokens(s, app);
    keep_error_token(s);
  }
  // The program saw the reset already, through read().
  if (s.phase == Phase::reset && app >= 0 && native == 0) return 0;
  return ours != 0 ? ours : native;
}

}  // namespace tidewire::posix

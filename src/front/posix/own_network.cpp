#include "front/posix/own_network.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "front/posix/route_socket.hpp"

namespace tidewire::posix {
namespace {

constexpr const char* interface_name = "eth0";
constexpr const char* other_name = "link0";

std::unexpected<NetworkFailure> failed(NetworkStep step, int error, int detail = 0) {
  return fail(NetworkFailure{step, error, detail});
}

bool write_file(const std::string& path, const std::string& text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return false;
  const ssize_t n = ::write(file.get(), text.data(), text.size());
  if (n >= 0 && n != static_cast<ssize_t>(text.size())) errno = EIO;
  return n == static_cast<ssize_t>(text.size());
}

/// The user and the group of this process keep their numbers; there are no others.
bool map_identity(uid_t user, gid_t group) {
  const auto one = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  return write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", one(user)) &&
         write_file("/proc/self/gid_map", one(group));
}

Result<bool, NetworkFailure> leave_host(int more) {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWNET | more) == 0) return false;
  if (errno != EPERM) return failed(NetworkStep::unshare, errno);
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET | more) != 0) {
    return failed(NetworkStep::unshare, errno);
  }
  if (!map_identity(user, group)) return failed(NetworkStep::identity, errno);
  return true;
}

Fd this_namespace() { return Fd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)); }

Fd open_tun(std::uint32_t mtu, RouteSocket& route) {
  Fd tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  std::strcpy(request.ifr_name, interface_name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (!tun || ::ioctl(tun.get(), TUNSETIFF, &request) != 0) return Fd{};
  return route.set_mtu(::if_nametoindex(interface_name), mtu) == 0 ? std::move(tun) : Fd{};
}

/// eth0 as one end of a pair whose other end is in a namespace of its own, so that nobody sees it.
int add_pair(const OwnNetworkConfig& config, RouteSocket& route, OwnNetwork& made) {
  const Fd here = this_namespace();
  if (!here || ::unshare(CLONE_NEWNET) != 0) return errno;
  made.other_end = this_namespace();
  if (!made.other_end || ::setns(here.get(), CLONE_NEWNET) != 0) return errno;
  if (const int error = route.add_veth(interface_name, config.mac, config.mtu, other_name,
                                       other_end_mac, made.other_end.get())) {
    return error;
  }
  if (::setns(made.other_end.get(), CLONE_NEWNET) != 0) return errno;
  int error = 0;
  RouteSocket there = RouteSocket::open();
  if (!there) error = errno;
  made.index = static_cast<int>(::if_nametoindex(other_name));
  if (error == 0 && config.carrier) {
    made.carrier.reset(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!made.carrier) error = errno;
  }
  (void)write_file("/proc/sys/net/ipv6/conf/link0/disable_ipv6", "1");
  if (error == 0) error = there.set_up(static_cast<unsigned>(made.index));
  return ::setns(here.get(), CLONE_NEWNET) != 0 ? errno : error;
}

int add_interface(const OwnNetworkConfig& config, RouteSocket& route, OwnNetwork& made) {
  if (config.carrier) {
    made.carrier = open_tun(config.mtu, route);
    made.tun = static_cast<bool>(made.carrier);
    if (made.tun) return 0;
  } else if (route.add_dummy(interface_name, config.mac, config.mtu) == 0) {
    return 0;
  }
  return add_pair(config, route, made);
}

int configure_interface(const OwnNetworkConfig& config, RouteSocket& route) {
  const unsigned index = ::if_nametoindex(interface_name);
  int error = route.add_address(index, config.address);
  if (error == 0) error = route.set_up(index, false);
  return error != 0 ? error : route.add_default_route(index, config.gateway);
}

/// Only programs of this mount namespace see it. Where no file names a resolver none can be
/// replaced.
bool replace_resolver(const IpAddress& resolver) {
  if (::access("/etc/resolv.conf", F_OK) != 0) return true;
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder != nullptr ? folder : "/tmp") + "/tidewire-resolv-XXXXXX";
  const Fd file(::mkostemp(path.data(), O_CLOEXEC));
  if (!file) return false;
  const std::string text = "nameserver " + to_string(resolver) + "\n";
  bool done = ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
              ::fchmod(file.get(), 0444) == 0 &&
              ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0 &&
              ::mount(path.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) == 0;
  const int error = errno;
  ::unlink(path.c_str());
  errno = error;
  return done;
}

}  // namespace

Result<OwnNetwork, NetworkFailure> enter_own_network(const OwnNetworkConfig& config) {
  OwnNetwork made;
  const auto own_users = leave_host(config.carrier ? CLONE_NEWNS : 0);
  if (!own_users) return fail(own_users.error());
  made.own_users = *own_users;
  made.control.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  RouteSocket route = RouteSocket::open();
  if (!route) return failed(NetworkStep::loopback, errno);
  if (const int error = route.set_up(1)) return failed(NetworkStep::loopback, error);
  // The virtual host has no IPv6 address but ::1, and nobody asked for the kernel's chatter.
  (void)write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
  if (const int error = add_interface(config, route, made)) {
    if (config.carrier) return failed(NetworkStep::interface, error);
    return made;
  }
  if (const int error = configure_interface(config, route)) {
    return failed(NetworkStep::address, error);
  }
  made.interface = true;
  int count = 0;
  for (const NetworkSetting& setting : config.settings) {
    if (!write_file("/proc/sys/net/" + setting.file, setting.value)) {
      return failed(NetworkStep::setting, errno, count);
    }
    ++count;
  }
  if (config.carrier && !replace_resolver(config.resolver)) {
    return failed(NetworkStep::resolver, errno);
  }
  return made;
}

void set_interface_mtu(int control, std::uint32_t mtu) noexcept {
  ifreq request{};
  std::strcpy(request.ifr_name, interface_name);
  request.ifr_mtu = static_cast<int>(mtu);
  (void)::ioctl(control, SIOCSIFMTU, &request);
}

std::string explain(const NetworkFailure& failure, const OwnNetworkConfig& config) {
  const std::string why = std::string(": ") + std::strerror(failure.error);
  switch (failure.step) {
    case NetworkStep::none:
      return {};
    case NetworkStep::unshare:
      return "the kernel refuses network namespaces" + why;
    case NetworkStep::identity:
      return "the kernel does not map this user into a user namespace" + why;
    case NetworkStep::loopback:
      return "the loopback of a network namespace cannot be brought up" + why;
    case NetworkStep::interface:
      return "the kernel makes neither a TUN device nor a veth pair in a network namespace" + why;
    case NetworkStep::address:
      return "the interface of a network namespace cannot be configured" + why;
    case NetworkStep::carrier:
      return "the interface of a network namespace cannot be opened" + why;
    case NetworkStep::resolver:
      return "/etc/resolv.conf cannot be replaced for the program" + why;
    case NetworkStep::setting: {
      const NetworkSetting& setting = config.settings[static_cast<std::size_t>(failure.detail)];
      return "the kernel does not take " + setting.value + " for net/" + setting.file + why;
    }
  }
  return {};
}

std::optional<NetworkFailure> probe_own_network(const OwnNetworkConfig& config) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return NetworkFailure{NetworkStep::unshare, errno};
  const Fd from(pipe[0]);
  Fd to(pipe[1]);
  const pid_t child = ::fork();
  if (child < 0) return NetworkFailure{NetworkStep::unshare, errno};
  if (child == 0) {
    const auto made = enter_own_network(config);
    const NetworkFailure result = made ? NetworkFailure{} : made.error();
    (void)!::write(to.get(), &result, sizeof result);
    ::_exit(0);
  }
  to.reset();
  NetworkFailure result{NetworkStep::unshare, ECHILD};
  (void)!::read(from.get(), &result, sizeof result);
  ::waitpid(child, nullptr, 0);
  if (result.step == NetworkStep::none) return std::nullopt;
  return result;
}

}  // namespace tidewire::posix

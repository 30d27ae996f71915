// A network namespace for the program, so that sockets which are not intercepted lead nowhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "front/posix/fd.hpp"
#include "wire/address.hpp"

namespace tidewire::posix {

/// The address of whoever is at the other end of eth0, if that is a packet socket.
inline constexpr MacAddress other_end_mac{{0x02, 0x00, 0x0a, 0x00, 0x02, 0x02}};

/// A file below /proc/sys/net of the new namespace, and what is written into it.
struct NetworkSetting {
  std::string file;
  std::string value;
};

/// What the namespace looks like from inside: `lo` and `eth0`.
struct OwnNetworkConfig {
  IpCidr address;
  IpAddress gateway;
  MacAddress mac;
  std::uint32_t mtu = 1500;
  /// False: eth0 is there to be looked at. True: its packets are to be had through a descriptor.
  bool carrier = false;
  IpAddress resolver;  ///< with a carrier: what /etc/resolv.conf names inside
  std::vector<NetworkSetting> settings;
};

/// Where making it failed.
enum class NetworkStep : std::int32_t {
  none,
  unshare,   ///< network (and user) namespace
  identity,  ///< mapping the user into the user namespace
  loopback,
  interface,  ///< no kind of interface can be made
  address,
  carrier,  ///< opening the other end of the interface
  resolver,
  setting,  ///< `detail` counts them
};

struct NetworkFailure {
  NetworkStep step = NetworkStep::none;
  int error = 0;  ///< errno
  int detail = 0;
};

/// The descriptors hold the namespace.
struct OwnNetwork {
  bool own_users = false;  ///< there is a user namespace, too
  bool interface = false;  ///< there is an eth0
  Fd control;              ///< a socket of the namespace, for questions about its interfaces
  Fd carrier;              ///< a TUN device, or a packet socket that is not bound yet
  bool tun = false;        ///< which of them
  int index = 0;           ///< of the interface that the packet socket is for
  Fd other_end;            ///< a namespace that must live as long as eth0
};

/// Moves this process, which has one thread, into new namespaces: of network, of users where that
/// takes one, of mounts for a resolver. User and group stay what they are. After a failure the
/// process may be in a half-made one and is to be ended.
Result<OwnNetwork, NetworkFailure> enter_own_network(const OwnNetworkConfig& config);

/// One line for people: what failed and why.
std::string explain(const NetworkFailure& failure, const OwnNetworkConfig& config);

/// `control` as of OwnNetwork. The longest packet of eth0 from now on, in bytes.
void set_interface_mtu(int control, std::uint32_t mtu) noexcept;

/// Tries it in a child. None: it works.
std::optional<NetworkFailure> probe_own_network(const OwnNetworkConfig& config);

}  // namespace tidewire::posix

#include "front/posix/own_network.hpp"

#include <gtest/gtest.h>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace tidewire::posix {
namespace {

OwnNetworkConfig example() {
  OwnNetworkConfig config;
  config.address = {IpAddress::v4(10, 0, 2, 15), 24};
  config.gateway = IpAddress::v4(10, 0, 2, 2);
  config.mac = {{0x02, 0, 0x0a, 0, 2, 0x0f}};
  config.mtu = 1400;
  return config;
}

/// What `action` returns in a child; 255: it did not come to its end.
template <typename Action>
int in_child(Action action) {
  const pid_t child = fork();
  if (child == 0) _exit(action());
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

bool has_address(const char* name, std::uint32_t value) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return false;
  bool found = false;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    const auto* address = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
    found =
        found || (std::string(at->ifa_name) == name && ntohl(address->sin_addr.s_addr) == value);
  }
  freeifaddrs(list);
  return found;
}

TEST(OwnNetwork, ShowsTheVirtualHostAndNothingElse) {
  if (const auto failure = probe_own_network(example())) {
    GTEST_SKIP() << explain(*failure, example());
  }
  const int result = in_child([] {
    const uid_t user = geteuid();
    const auto made = enter_own_network(example());
    if (!made || !made->interface) return 1;
    if (geteuid() != user) return 2;
    if (!has_address("eth0", 0x0a00020f) || !has_address("lo", 0x7f000001)) return 3;
    set_interface_mtu(made->control.get(), 1300);
    struct if_nameindex* names = if_nameindex();
    int count = 0;
    while (names != nullptr && names[count].if_index != 0) ++count;
    return count == 2 ? 0 : 4;
  });
  EXPECT_EQ(result, 0);
}

TEST(OwnNetwork, LeadsNowhere) {
  if (const auto failure = probe_own_network(example())) {
    GTEST_SKIP() << explain(*failure, example());
  }
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size), 0);
  const auto knock = [&at] {
    const int sock = socket(AF_INET, SOCK_STREAM, 0);
    return connect(sock, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 ? 0 : errno;
  };
  EXPECT_EQ(in_child(knock), 0);
  EXPECT_EQ(in_child([&] { return enter_own_network(example()) ? knock() : 254; }), ECONNREFUSED);
  close(listener);
}

TEST(OwnNetwork, ExplainsWhatFailed) {
  OwnNetworkConfig config = example();
  config.settings = {{"ipv4/tcp_ecn", "1"}, {"ipv4/tcp_congestion_control", "none"}};
  EXPECT_EQ(explain({NetworkStep::setting, ENOENT, 1}, config),
            "the kernel does not take none for net/ipv4/tcp_congestion_control: No such file or "
            "directory");
  EXPECT_EQ(explain({NetworkStep::unshare, EPERM}, config),
            "the kernel refuses network namespaces: Operation not permitted");
}

}  // namespace
}  // namespace tidewire::posix

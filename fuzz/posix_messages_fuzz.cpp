// What programs write to the interception: netlink requests, control messages. The first byte
// chooses.
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "front/posix/message.hpp"
#include "front/posix/netlink.hpp"
#include "fuzz.hpp"

namespace tidewire::posix {
namespace {

using Answer = std::vector<NetlinkReply> (*)(Bytes, const NetlinkHost&, std::uint32_t);

// Replies are whole messages in datagrams that programs have room for.
void netlink(Bytes request, Answer answer) {
  const std::array<InterfaceInfo, 2> interfaces{
      InterfaceInfo{"lo", 1, {IpAddress::loopback(Family::v4), 8}, {}, 65'536, true, {}},
      InterfaceInfo{
          "eth0", 2, {IpAddress::v4(0x0a00020f), 24}, {}, 1'500, false, IpAddress::v4(0x0a000202)}};
  const std::array<ListedSocket, 1> sockets{};
  for (const NetlinkReply& reply : answer(request, {interfaces, sockets}, 7)) {
    fuzz::check(!reply.empty() && reply.size() <= 8'192);
    Bytes rest = reply;
    while (!rest.empty()) {
      fuzz::check(rest.size() >= sizeof(nlmsghdr));
      nlmsghdr head;
      std::memcpy(&head, rest.data(), sizeof head);
      fuzz::check(head.nlmsg_len >= sizeof head && head.nlmsg_len <= rest.size());
      fuzz::check(head.nlmsg_pid == 7);
      rest = rest.subspan(std::min<std::size_t>(rest.size(), NLMSG_ALIGN(head.nlmsg_len)));
    }
  }
}

void controls(Bytes control, int domain) {
  const auto meta = parse_controls(control, domain);
  if (!meta) return fuzz::check(meta.error() == EINVAL);
  fuzz::check(meta->hop_limit >= -1 && meta->hop_limit <= 255);
  fuzz::check(meta->traffic_class >= -1 && meta->traffic_class <= 255);
}

}  // namespace
}  // namespace tidewire::posix

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tidewire;
  if (size == 0) return 0;
  const Bytes input = as_bytes(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      posix::netlink(input, posix::answer_route);
      break;
    case 1:
      posix::netlink(input, posix::answer_diag);
      break;
    case 2:
      posix::controls(input, AF_INET);
      break;
    default:
      posix::controls(input, AF_INET6);
  }
  return 0;
}

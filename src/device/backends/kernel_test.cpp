// The Linux kernel on the other end, in network namespaces that the test makes and loses.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>

#include "device/backends/vnet_device.hpp"
#include "device/factory.hpp"
#include "device/wrap/rx_split.hpp"
#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

constexpr IpAddress kKernel = IpAddress::v4(10, 9, 0, 1);
constexpr IpAddress kOurs = IpAddress::v4(10, 9, 0, 2);
constexpr std::string_view kSkip = "skip: ";

void write_file(const char* path, const std::string& text) {
  const OwnedFd fd{open(path, O_WRONLY | O_CLOEXEC)};
  if (fd) (void)!write(fd.get(), text.data(), text.size());
}

/// Leaves all privileges and becomes root of a user namespace of its own.
bool become_unprivileged_root() {
  if (getuid() == 0 && (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0))
    return false;
  prctl(PR_SET_DUMPABLE, 1);  // or /proc/self stays root's
  const std::string uid = std::to_string(getuid());
  const std::string gid = std::to_string(getgid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", "0 " + uid + " 1");
  write_file("/proc/self/gid_map", "0 " + gid + " 1");
  return true;
}

/// Runs `body` in a child process and a new network namespace; what it returns is the failure.
std::string in_namespace(bool unprivileged, const std::function<std::string()>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  const OwnedFd in{ends[0]};
  OwnedFd out{ends[1]};
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    const bool ready = unprivileged ? become_unprivileged_root() : unshare(CLONE_NEWNET) == 0;
    const std::string result =
        ready ? body() : std::string(kSkip) + "no namespace: " + error_text(errno);
    (void)!write(out.get(), result.data(), result.size());
    _exit(0);
  }
  out = OwnedFd{};
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(in.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) text += " (the child died: " + std::to_string(status) + ")";
  return text;
}

bool shell(const std::string& command) {
  return std::system((command + " 2>/dev/null").c_str()) == 0;
}

Instant clock_now() {
  return Instant::from_nanos(std::chrono::steady_clock::now().time_since_epoch().count());
}

/// The next frame that `wanted` accepts, within two seconds.
template <typename Wanted>
std::vector<std::byte> next_frame(Device& device, Wanted wanted, RxFrame& info) {
  const Instant until = clock_now() + Duration::seconds(2);
  while (clock_now() < until) {
    pollfd ready{device.descriptor(), POLLIN, 0};
    poll(&ready, 1, 100);
    for (const RxFrame& frame : device.receive(clock_now(), 64)) {
      if (!wanted(frame)) continue;
      info = frame;
      return copy_of(frame.head);
    }
  }
  return {};
}

sockaddr_in inet(const IpAddress& address, std::uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  in.sin_addr.s_addr = htonl(address.v4_value());
  return in;
}

bool is_tcp(const RxFrame& frame) {
  const auto at = find_layers(frame.head, Medium::ethernet);
  return at && at->protocol == 6;
}

Headers towards_kernel(Device& device, std::uint16_t port, std::uint16_t to, bool udp) {
  Headers h;
  h.source = kOurs;
  h.destination = kKernel;
  h.source_port = port;
  h.destination_port = to;
  h.udp = udp;
  (void)device;
  return h;
}

void address_frame(std::vector<std::byte>& head, const MacAddress& to, const MacAddress& from) {
  std::memcpy(head.data(), to.octets.data(), 6);
  std::memcpy(head.data() + 6, from.octets.data(), 6);
}

/// A connection from the kernel, answered by hand; then the kernel sends 30,000 bytes.
std::string kernel_sends_super_segments(Device& device, const MacAddress& kernel_mac) {
  const OwnedFd client{socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  const sockaddr_in to = inet(kOurs, 80);
  (void)connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
  RxFrame info;
  const auto syn = next_frame(device, is_tcp, info);
  if (syn.empty()) return "no SYN arrived";
  if (info.checksum == ChecksumState::unknown && !is_sound(syn)) return "the SYN is damaged";
  Headers h = towards_kernel(device, 80, wire::load_u16(syn.data() + 34), false);
  h.flags = 0x12;
  h.seq = 1000;
  auto head = headers(h, 0);
  address_frame(head, kernel_mac, device.capabilities().mac);
  wire::store_u32(head.data() + 42, wire::load_u32(syn.data() + 38) + 1);
  wire::store_u16(head.data() + 48, 65535);
  if (device.push(frame_of(h, head, {})) != PushResult::taken) return "push said full";
  device.flush();
  pollfd writable{client.get(), POLLOUT, 0};
  poll(&writable, 1, 2000);
  const auto data = pattern(30'000);
  const ssize_t sent = write(client.get(), data.data(), data.size());
  if (sent < 10'000) return "the kernel did not connect: " + error_text(errno);
  // The slower the answer, the smaller the kernel makes them, down to two segments of 536 bytes.
  const auto super =
      next_frame(device, [](const RxFrame& f) { return is_tcp(f) && f.size() > 1000; }, info);
  if (super.empty()) return "no super-segment arrived";
  if (info.seg_size != 536 || info.segs < 2) {  // our SYN-ACK had no MSS option
    return "seg_size " + std::to_string(info.seg_size) + ", segs " + std::to_string(info.segs);
  }
  if (info.checksum == ChecksumState::unknown) return "its checksum is unknown";
  const Bytes payload = Bytes{super}.subspan(54);
  if (!std::equal(payload.begin(), payload.end(), data.begin())) return "wrong bytes";
  return {};
}

/// A datagram super-segment and one with a pending checksum, into a kernel socket.
std::string kernel_receives_datagrams(Device& device, const MacAddress& kernel_mac) {
  const OwnedFd server{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const sockaddr_in at = inet(kKernel, 7);
  if (bind(server.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) return "bind";
  Headers h = towards_kernel(device, 9, 7, true);
  auto head = headers(h, 3500);
  address_frame(head, kernel_mac, device.capabilities().mac);
  const auto data = pattern(3500);
  const Bytes payload[] = {Bytes{data}.first(100), Bytes{data}.subspan(100)};
  if (device.push(frame_of(h, head, payload, 1000)) != PushResult::taken) return "push said full";
  device.flush();
  std::vector<std::byte> got;
  for (const std::size_t expected : {1000U, 1000U, 1000U, 500U}) {
    pollfd ready{server.get(), POLLIN, 0};
    if (poll(&ready, 1, 2000) != 1) return "a datagram is missing";
    std::byte buffer[4000];
    const ssize_t n = recv(server.get(), buffer, sizeof buffer, 0);
    if (n != static_cast<ssize_t>(expected)) return "a datagram of " + std::to_string(n);
    got.insert(got.end(), buffer, buffer + n);
  }
  return got == data ? "" : "wrong bytes";
}

std::string with_kernel(const std::string& description, const std::string& kernel_side,
                        const OpenOptions& options = {}) {
  auto opened = open_device(description, options);
  if (!opened) return opened.error();
  Device& device = **opened;
  const std::string mac = to_string(device.capabilities().mac);
  if (!shell("ip addr add 10.9.0.1/24 dev " + kernel_side) ||
      !shell("ip link set " + kernel_side + " up") ||
      !shell("ip neigh add 10.9.0.2 lladdr " + mac + " dev " + kernel_side)) {
    return std::string(kSkip) + "ip (iproute2) cannot set up " + kernel_side;
  }
  device.advance(clock_now() + Duration::seconds(1));
  if (!device.link_up()) return "the link is down";
  const MacAddress kernel_mac = interface_mac(kernel_side);
  std::string failure = kernel_receives_datagrams(device, kernel_mac);
  if (!failure.empty()) return "datagrams: " + failure;
  if (options.offloads) failure = kernel_sends_super_segments(device, kernel_mac);
  if (!failure.empty()) return "super-segments: " + failure;
  shell("ip link set " + kernel_side + " down");
  device.advance(clock_now() + Duration::seconds(2));
  return {};
}

void expect_success(const std::string& result) {
  if (result.starts_with(kSkip)) GTEST_SKIP() << result.substr(kSkip.size());
  EXPECT_EQ(result, "");
}

TEST(Kernel, Tap) {
  if (geteuid() != 0) GTEST_SKIP() << "a TAP device needs root";
  if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/net/tun";
  expect_success(in_namespace(false, [] { return with_kernel("tap:tw0", "tw0"); }));
}

TEST(Kernel, TapWithoutOffloads) {
  if (geteuid() != 0) GTEST_SKIP() << "a TAP device needs root";
  if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/net/tun";
  expect_success(in_namespace(false, [] {
    OpenOptions plain;
    plain.offloads = false;
    return with_kernel("tap:tw0", "tw0", plain);
  }));
}

TEST(Kernel, TapInBatches) {
  if (geteuid() != 0) GTEST_SKIP() << "a TAP device needs root";
  if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/net/tun";
  expect_success(in_namespace(false, [] {
    OpenOptions batches;
    batches.io_uring = true;
    const std::string result = with_kernel("tap:tw0", "tw0", batches);
    return result.starts_with("cannot use io_uring") ? std::string(kSkip) + result : result;
  }));
}

/// Where a datagram from the kernel's `socket` comes out.
int queue_of(int socket, std::vector<std::unique_ptr<Device>>& queues) {
  (void)!send(socket, "x", 1, 0);
  for (int tries = 0; tries < 1000; ++tries) {
    for (std::size_t i = 0; i < queues.size(); ++i) {
      for (const RxFrame& frame : queues[i]->receive(clock_now(), 16)) {
        const auto layers = find_layers(frame.head, Medium::ethernet);
        if (layers && layers->protocol == 17) return static_cast<int>(i);
      }
    }
    usleep(1000);
  }
  return -1;
}

std::string queues_of_one_interface() {
  auto queues = open_queues("tap:tw0", 3);
  if (!queues) return queues.error();
  if (queues->size() != 3) return "not three queues";
  const std::string mac = to_string((*queues)[2]->capabilities().mac);
  if (mac != to_string((*queues)[0]->capabilities().mac)) return "addresses differ";
  if (!shell("ip addr add 10.9.0.1/24 dev tw0") || !shell("ip link set tw0 up") ||
      !shell("ip neigh add 10.9.0.2 lladdr " + mac + " dev tw0")) {
    return std::string(kSkip) + "ip (iproute2) cannot set up tw0";
  }
  std::array<int, 3> flows{};
  for (std::uint16_t port = 1; port <= 60; ++port) {
    const OwnedFd fd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(kOurs.v4_value());
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return "connect";
    const int queue = queue_of(fd.get(), *queues);
    if (queue < 0) return "a datagram was lost";
    ++flows.at(static_cast<std::size_t>(queue));
  }
  return std::ranges::count(flows, 0) == 0 ? "" : "a queue was never used";
}

TEST(Kernel, TapOfSeveralQueues) {
  if (geteuid() != 0) GTEST_SKIP() << "a TAP device needs root";
  if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/net/tun";
  expect_success(in_namespace(false, queues_of_one_interface));
}

TEST(Kernel, QueuesThatAreNotThereSaySo) {
  if (geteuid() != 0) GTEST_SKIP() << "a TAP device needs root";
  if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/net/tun";
  expect_success(in_namespace(false, []() -> std::string {
    const auto one = open_device("tap:tw0");
    if (!one) return one.error();
    const auto more = open_queues("tap:tw0", 2);
    if (more) return "queues of an interface that has one";
    if (more.error().find("no tap device of several queues") == std::string::npos) {
      return more.error();
    }
    const auto single = open_queues("tap:tw1", 1);
    if (!single || single->size() != 1) return "one queue";
    const auto veth = open_queues("veth:lo", 2);
    return veth ? "two queues of a packet socket" : std::string();
  }));
}

TEST(Kernel, TapThatIsTakenSaysSo) {
  if (geteuid() != 0) GTEST_SKIP() << "a TAP device needs root";
  if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/net/tun";
  expect_success(in_namespace(false, []() -> std::string {
    const auto first = open_device("tap:tw0");
    const auto second = open_device("tap:tw0");
    if (!first || second) return "the second open worked";
    if (second.error().find("another program has it open") == std::string::npos) {
      return second.error();
    }
    const auto other_kind = open_device("tun:tw0");
    return other_kind ? "opened as TUN" : std::string();
  }));
}

std::string veth() {
  if (!shell("ip link add v0 type veth peer name v1") || !shell("ip link set v0 up")) {
    return std::string(kSkip) + "no veth pair can be made here";
  }
  return with_kernel("veth:v0", "v1");
}

TEST(Kernel, VethInAnUnprivilegedUserNamespace) { expect_success(in_namespace(true, veth)); }

TEST(Kernel, TapWithoutPrivilegeSaysWhatToDo) {
  expect_success(in_namespace(true, []() -> std::string {
    const auto device = open_device("tap:tw0");
    if (device) return std::string(kSkip) + "/dev/net/tun is open to everyone here";
    return device.error().find("unshare -Urn") != std::string::npos ? "" : device.error();
  }));
}

}  // namespace
}  // namespace tidewire::device

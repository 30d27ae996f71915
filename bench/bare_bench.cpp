// What the TAP device itself can carry without offloads: a loop of writes and reads around the
// least TCP there can be, with the kernel as peer. It is what tap_plain_out and tap_plain_in are
// held against. Usage: bare_bench [--list | CASE [SECONDS [CORES]]]; without arguments every case
// once. Prints `CASE VALUE UNIT`. Needs root: each run makes its own network namespace. This TCP
// keeps to the peer's window and to the order; it has no timers but one (go-back-N after 200 ms),
// no congestion control, no options but MSS and window scale, it does not look at checksums, and
// its text is zeros, so that the sum over a segment is that of its header.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "arguments.hpp"
#include "cases.hpp"
#include "kernel_side.hpp"

namespace tidewire::bench {
namespace {

constexpr const char* kPeer = "10.77.0.1";
constexpr const char* kOwn = "10.77.0.2";
constexpr std::uint16_t kOwnPort = 40'000;
constexpr std::uint8_t kScale = 8;           // of the window announced
constexpr std::uint32_t kWindow = 4U << 20;  // bytes announced
constexpr std::uint32_t kText = 1460;        // bytes of a segment
constexpr std::size_t kEthernet = 14, kHeaders = kEthernet + 20 + 20;
constexpr int kBatch = 64;
enum Flag : std::uint8_t { kFin = 1, kSyn = 2, kRst = 4, kAck = 16 };

struct Segment {
  std::uint32_t seq = 0, ack = 0, window = 0, text = 0;  // window in units of the peer's scale
  std::uint8_t flags = 0;
  std::uint8_t scale = 0;  // of a SYN
};

std::uint16_t get16(const std::uint8_t* at) {
  return static_cast<std::uint16_t>(at[0] << 8 | at[1]);
}
std::uint32_t get32(const std::uint8_t* at) {
  return std::uint32_t{get16(at)} << 16 | get16(at + 2);
}
void put16(std::uint8_t* at, std::uint32_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}
void put32(std::uint8_t* at, std::uint32_t value) {
  put16(at, value >> 16);
  put16(at + 2, value);
}
std::uint32_t sum(const std::uint8_t* at, std::size_t size) {
  std::uint32_t total = 0;
  for (std::size_t i = 0; i < size; i += 2) total += get16(at + i);
  return total;
}
std::uint32_t folded(std::uint32_t total) {
  total = (total & 0xffff) + (total >> 16);
  return ~(total + (total >> 16)) & 0xffff;
}
bool before(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

/// A TAP device without offloads, tw0, with the kernel at 10.77.0.1 and static neighbours.
class Tap {
 public:
  Tap() : fd_(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
    if (fd_ < 0) give_up("/dev/net/tun");
    ifreq request{};
    std::strcpy(request.ifr_name, "tw0");
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(fd_, TUNSETIFF, &request) != 0) give_up("TUNSETIFF");
    shell(
        "ip link set tw0 address 02:00:00:00:00:01 up txqueuelen 10000 && "
        "ip addr add 10.77.0.1/24 dev tw0 && "
        "ip neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev tw0 nud permanent");
    const std::array<std::uint8_t, kEthernet> ethernet{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
    std::copy(ethernet.begin(), ethernet.end(), out_.begin());
    std::uint8_t* ip = out_.data() + kEthernet;
    ip[0] = 0x45;
    ip[6] = 0x40;  // DF
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    inet_pton(AF_INET, kOwn, ip + 12);
    inet_pton(AF_INET, kPeer, ip + 16);
  }
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;
  ~Tap() { close(fd_); }

  /// False: the device has no room.
  bool send(std::uint16_t port, const Segment& segment) {
    std::uint8_t* const ip = out_.data() + kEthernet;
    std::uint8_t* const tcp = ip + 20;
    const bool syn = (segment.flags & kSyn) != 0;
    const std::uint32_t header = syn ? 28 : 20;
    put16(ip + 2, 20 + header + segment.text);
    put16(ip + 10, 0);
    put16(ip + 10, folded(sum(ip, 20)));
    put16(tcp, kOwnPort);
    put16(tcp + 2, port);
    put32(tcp + 4, segment.seq);
    put32(tcp + 8, segment.ack);
    tcp[12] = static_cast<std::uint8_t>(header << 2);
    tcp[13] = segment.flags;
    put16(tcp + 14, segment.window);
    put16(tcp + 16, 0);
    put16(tcp + 18, 0);
    put32(tcp + 20, syn ? 0x02040000 | kText : 0);
    put32(tcp + 24, syn ? 0x01030300U | kScale : 0);
    const std::uint32_t pseudo = sum(ip + 12, 8) + IPPROTO_TCP + header + segment.text;
    put16(tcp + 16, folded(pseudo + sum(tcp, header)));
    const std::size_t size = kEthernet + 20 + header + segment.text;
    const ssize_t done = write(fd_, out_.data(), size);
    if (done == static_cast<ssize_t>(size)) return true;
    if (errno != EAGAIN && errno != ENOBUFS) give_up("write to the device");
    return false;
  }

  /// The next segment of the peer, if one is there. What is no TCP is passed over.
  bool receive(Segment& segment) {
    for (;;) {
      const ssize_t size = read(fd_, in_.data(), in_.size());
      if (size < 0 && errno != EAGAIN) give_up("read from the device");
      if (size < 0) return false;
      const std::uint8_t* const ip = in_.data() + kEthernet;
      if (size < static_cast<ssize_t>(kHeaders) || ip[0] != 0x45 || ip[9] != IPPROTO_TCP) continue;
      const std::uint8_t* const tcp = ip + 20;
      const std::uint32_t header = (tcp[12] >> 4) * 4U;
      segment = {.seq = get32(tcp + 4),
                 .ack = get32(tcp + 8),
                 .window = get16(tcp + 14),
                 .text = get16(ip + 2) - 20U - header,
                 .flags = tcp[13]};
      for (std::uint32_t at = 20; at + 2 < header && tcp[at] != 0;) {  // options of the SYN
        if (tcp[at] == 3) segment.scale = tcp[at + 2];
        at += tcp[at] == 1 ? 1U : std::max<std::uint32_t>(tcp[at + 1], 2);
      }
      return true;
    }
  }

 private:
  int fd_;
  std::array<std::uint8_t, kHeaders + 8 + kText> out_{};
  std::array<std::uint8_t, 2048> in_;
};

class Connection {
 public:
  Connection(Tap& tap, Service service) : tap_(tap), port_(service) {}

  void connect() {
    Segment answer;
    for (int tries = 0; tries < 100; ++tries) {
      const double until = seconds_now() + 0.05;
      (void)tap_.send(port_, {.seq = nxt_ - 1, .window = 0xffff, .flags = kSyn});
      while (seconds_now() < until) {
        if (!tap_.receive(answer) || answer.flags != (kSyn | kAck)) continue;
        rcv_nxt_ = answer.seq + 1;
        scale_ = answer.scale;
        end_ = nxt_ + answer.window;
        acknowledge();
        return;
      }
    }
    give_up("connect");
  }

  void send_until_over(Meter& meter) {
    double progress = seconds_now();
    while (meter.running()) {
      int room = kBatch;  // what was acknowledged meanwhile is looked at after these
      while (room-- > 0 && !before(end_, nxt_ + kText)) {
        if (!tap_.send(port_, {.seq = nxt_,
                               .ack = rcv_nxt_,
                               .window = kWindow >> kScale,
                               .text = kText,
                               .flags = kAck})) {
          break;
        }
        nxt_ += kText;
      }
      const std::uint32_t old = una_;
      take_acks();
      if (una_ != old) {
        meter.add(una_ - old);
        progress = seconds_now();
      } else if (nxt_ != una_ && seconds_now() > progress + 0.2) {
        nxt_ = una_;
        progress = seconds_now();
      }
    }
  }

  void receive_until_over(Meter& meter) {
    Segment segment;
    while (meter.running()) {
      const std::uint32_t old = rcv_nxt_;
      int frames = 0;
      while (frames < kBatch && tap_.receive(segment)) {
        ++frames;
        must_go_on(segment);
        if (segment.seq == rcv_nxt_) rcv_nxt_ += segment.text;
      }
      if (frames == 0) continue;
      meter.add(rcv_nxt_ - old);
      acknowledge();
    }
  }

 private:
  static void must_go_on(const Segment& segment) {
    if ((segment.flags & (kRst | kFin)) == 0) return;
    std::fprintf(stderr, "bench: the kernel ended the connection\n");
    std::exit(1);
  }
  void take_acks() {
    Segment segment;
    while (tap_.receive(segment)) {
      must_go_on(segment);
      if (before(segment.ack, una_) || before(nxt_, segment.ack)) continue;
      una_ = segment.ack;
      end_ = segment.ack + (segment.window << scale_);
    }
  }
  void acknowledge() {
    (void)tap_.send(port_,
                    {.seq = nxt_, .ack = rcv_nxt_, .window = kWindow >> kScale, .flags = kAck});
  }

  Tap& tap_;
  std::uint16_t port_;
  std::uint32_t una_ = 1000, nxt_ = 1000, end_ = 1000;  // end_: of the peer's window
  std::uint32_t rcv_nxt_ = 0;
  std::uint8_t scale_ = 0;
};

int run(std::string_view name, double seconds, int cores) {
  const Service service = name == "bare_out" ? kSink : kSource;
  enter_namespace();
  shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
  Tap tap;
  pin(0);
  const Child server([&] { serve(service); });
  pin(cores == 1 ? 0 : 1);
  usleep(100'000);  // the server listens
  Connection connection(tap, service);
  connection.connect();
  Meter meter(seconds);
  service == kSink ? connection.send_until_over(meter) : connection.receive_until_over(meter);
  std::printf("%s %.3f Gbit/s\n", name.data(), meter.rate(service));
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const double seconds = seconds_argument(argc, argv);
  const int cores = cores_argument(argc, argv, 2);
  const std::vector<std::string> names{"bare_out", "bare_in"};
  return run_cases(argc, argv, names, "bare_bench [--list | CASE [SECONDS [CORES]]]",
                   [&](std::size_t i) { return run(names[i], seconds, cores); });
}

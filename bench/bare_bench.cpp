// What the TAP device itself can carry without offloads: a loop of writes and reads around the
// least TCP there can be, with the kernel as peer. It is what tap_plain_out and tap_plain_in are
// held against, and what bounds tap_round_trips: bare_round_trips waits with epoll as a driver of
// several descriptors must, _blocking in its read, _uring posts write and read with one call that
// waits. Usage: bare_bench [--list | CASE [SECONDS [CORES]]]; without arguments every case once.
// Prints `CASE VALUE UNIT`. Needs root: each run makes its own network namespace. This TCP
// keeps to the peer's window and to the order; it has no timers but one (go-back-N after 200 ms),
// no congestion control, no options but MSS and window scale, it does not look at checksums, and
// its text is zeros, so that the sum over a segment is that of its header.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <span>
#include <string>
#include <vector>

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

  /// The packet, valid until the next call.
  std::span<const std::uint8_t> build(std::uint16_t port, const Segment& segment) {
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
    return std::span{out_}.first(kEthernet + 20 + header + segment.text);
  }
  /// False: the device has no room.
  bool send(std::uint16_t port, const Segment& segment) {
    const auto packet = build(port, segment);
    const ssize_t done = write(fd_, packet.data(), packet.size());
    if (done == static_cast<ssize_t>(packet.size())) return true;
    if (errno != EAGAIN && errno != ENOBUFS) give_up("write to the device");
    return false;
  }

  /// The next segment of the peer, if one is there. What is no TCP is passed over.
  bool receive(Segment& segment) {
    for (;;) {
      const ssize_t size = read(fd_, in_.data(), in_.size());
      if (size < 0 && errno != EAGAIN) give_up("read from the device");
      if (size < 0) return false;
      if (parse(size, segment)) return true;
    }
  }
  /// The segment that was read into room(); false if it is none.
  bool parse(ssize_t size, Segment& segment) const {
    const std::uint8_t* const ip = in_.data() + kEthernet;
    if (size < static_cast<ssize_t>(kHeaders) || ip[0] != 0x45 || ip[9] != IPPROTO_TCP) {
      return false;
    }
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
  std::span<std::uint8_t> room() { return in_; }
  int descriptor() const { return fd_; }
  /// Reads wait from now on.
  void block() {
    if (fcntl(fd_, F_SETFL, O_RDWR) != 0) give_up("fcntl");
  }

 private:
  int fd_;
  std::array<std::uint8_t, kHeaders + 8 + kText> out_{};
  std::array<std::uint8_t, 2048> in_;
};

/// How the next packet is waited for.
class Epoll {
 public:
  explicit Epoll(Tap& tap) : tap_(tap), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = tap.descriptor()}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, tap.descriptor(), &event) != 0) give_up("epoll_ctl");
  }
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;
  ~Epoll() { close(epoll_); }
  ssize_t exchange(std::span<const std::uint8_t> packet) {
    if (!packet.empty()) (void)!write(tap_.descriptor(), packet.data(), packet.size());
    epoll_event event;
    (void)epoll_wait(epoll_, &event, 1, -1);
    return read(tap_.descriptor(), tap_.room().data(), tap_.room().size());
  }

 private:
  Tap& tap_;
  int epoll_;
};

class Blocking {
 public:
  explicit Blocking(Tap& tap) : tap_(tap) { tap.block(); }
  ssize_t exchange(std::span<const std::uint8_t> packet) {
    if (!packet.empty()) (void)!write(tap_.descriptor(), packet.data(), packet.size());
    return read(tap_.descriptor(), tap_.room().data(), tap_.room().size());
  }

 private:
  Tap& tap_;
};

/// Write, read and the wait for it are one system call.
class Ring {
 public:
  explicit Ring(Tap& tap) : tap_(tap) {
    tap.block();  // a read that finds nothing is else over at once
    io_uring_params p{};
    p.flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    ring_ = static_cast<int>(syscall(SYS_io_uring_setup, kEntries, &p));
    if (ring_ < 0) give_up("io_uring");
    queues_ = map(std::max(p.sq_off.array + kEntries * sizeof(std::uint32_t),
                           p.cq_off.cqes + p.cq_entries * sizeof(io_uring_cqe)),
                  IORING_OFF_SQ_RING);
    requests_ =
        reinterpret_cast<io_uring_sqe*>(map(kEntries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    submit_tail_ = reinterpret_cast<std::uint32_t*>(queues_ + p.sq_off.tail);
    done_head_ = reinterpret_cast<std::uint32_t*>(queues_ + p.cq_off.head);
    done_tail_ = reinterpret_cast<std::uint32_t*>(queues_ + p.cq_off.tail);
    done_ = reinterpret_cast<io_uring_cqe*>(queues_ + p.cq_off.cqes);
    done_mask_ = p.cq_entries - 1;
    auto* const order = reinterpret_cast<std::uint32_t*>(queues_ + p.sq_off.array);
    for (std::uint32_t i = 0; i < kEntries; ++i) order[i] = i;
    io_uring_rsrc_update own{.offset = -1U, .resv = 0, .data = static_cast<std::uint32_t>(ring_)};
    if (syscall(SYS_io_uring_register, ring_, IORING_REGISTER_RING_FDS, &own, 1) != 1) {
      give_up("io_uring's registered ring");
    }
    registered_ = static_cast<int>(own.offset);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { close(ring_); }

  ssize_t exchange(std::span<const std::uint8_t> packet) {
    const std::uint32_t before = tail_;
    if (!packet.empty()) {
      add(IORING_OP_WRITE, packet.data(), packet.size()).flags = IOSQE_CQE_SKIP_SUCCESS;
    }
    (void)add(IORING_OP_READ, tap_.room().data(), tap_.room().size());
    std::atomic_ref{*submit_tail_}.store(tail_, std::memory_order_release);
    (void)syscall(SYS_io_uring_enter, registered_, tail_ - before, 1,
                  IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, nullptr, 0);
    const std::uint32_t head = *done_head_;
    if (std::atomic_ref{*done_tail_}.load(std::memory_order_acquire) == head) give_up("io_uring");
    const ssize_t result = done_[head & done_mask_].res;
    std::atomic_ref{*done_head_}.store(head + 1, std::memory_order_release);
    errno = result < 0 ? static_cast<int>(-result) : 0;
    if (result < 0) give_up("a request of io_uring");
    return result;
  }

 private:
  static constexpr std::uint32_t kEntries = 8;
  std::byte* map(std::size_t size, off_t what) const {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_, what);
    if (at == MAP_FAILED) give_up("io_uring's memory");
    return static_cast<std::byte*>(at);
  }
  io_uring_sqe& add(std::uint8_t operation, const std::uint8_t* bytes, std::size_t size) {
    io_uring_sqe& request = requests_[tail_++ % kEntries];
    request = {};
    request.opcode = operation;
    request.fd = tap_.descriptor();
    request.off = ~std::uint64_t{0};
    request.addr = reinterpret_cast<std::uintptr_t>(bytes);
    request.len = static_cast<std::uint32_t>(size);
    return request;
  }

  Tap& tap_;
  int ring_ = -1, registered_ = -1;
  std::byte* queues_ = nullptr;
  io_uring_sqe* requests_ = nullptr;
  io_uring_cqe* done_ = nullptr;
  std::uint32_t *submit_tail_ = nullptr, *done_head_ = nullptr, *done_tail_ = nullptr;
  std::uint32_t done_mask_ = 0, tail_ = 0;
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

  /// One byte out, one byte back.
  template <typename Wait>
  void echo_until_over(Meter& meter) {
    Wait wait(tap_);
    while (meter.running()) {
      auto packet = tap_.build(
          port_,
          {.seq = nxt_++, .ack = rcv_nxt_, .window = kWindow >> kScale, .text = 1, .flags = kAck});
      for (bool back = false; !back; packet = {}) {
        Segment segment;
        if (!tap_.parse(wait.exchange(packet), segment)) continue;
        must_go_on(segment);
        back = segment.seq == rcv_nxt_ && segment.text > 0;
        if (back) rcv_nxt_ += segment.text;
      }
      meter.add(1);
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

struct Case {
  std::string name;
  Service service;
  void (Connection::*work)(Meter&);
};
const std::array kCases{
    Case{"bare_out", kSink, &Connection::send_until_over},
    Case{"bare_in", kSource, &Connection::receive_until_over},
    Case{"bare_round_trips", kEcho, &Connection::echo_until_over<Epoll>},
    Case{"bare_round_trips_blocking", kEcho, &Connection::echo_until_over<Blocking>},
    Case{"bare_round_trips_uring", kEcho, &Connection::echo_until_over<Ring>},
};

int run(const Case& what, double seconds, int cores) {
  enter_namespace();
  shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
  Tap tap;
  pin(0);
  const Child server([&] { serve(what.service); });
  pin(cores == 1 ? 0 : 1);
  usleep(100'000);  // the server listens
  Connection connection(tap, what.service);
  connection.connect();
  Meter meter(seconds);
  (connection.*what.work)(meter);
  std::printf("%s %.3f %s\n", what.name.c_str(), meter.rate(what.service),
              is_bulk(what.service) ? "Gbit/s" : "round trips/s");
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const double seconds = seconds_argument(argc, argv);
  const int cores = cores_argument(argc, argv, 2);
  std::vector<std::string> names;
  for (const Case& one : kCases) names.push_back(one.name);
  return run_cases(argc, argv, names, "bare_bench [--list | CASE [SECONDS [CORES]]]",
                   [&](std::size_t i) { return run(kCases[i], seconds, cores); });
}

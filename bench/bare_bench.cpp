// What the TAP device itself can carry without offloads: a loop of writes and reads around the
// least TCP there can be, with the kernel as peer. It is what tap_plain_out and tap_plain_in are
// held against, and what bounds tap_round_trips: bare_round_trips waits with epoll as a driver of
// several descriptors must, _blocking in its read, _uring posts write and read with one call that
// waits. bare_connections bounds tap_connections likewise. Usage: bare_bench [--list | CASE
// [SECONDS [CORES]]]; without arguments every case once. Prints `CASE VALUE UNIT`. Needs root: each
// run makes its own network namespace. This TCP keeps to the peer's window and to the order; it has
// no timers but one (go-back-N after 200 ms), no congestion control, no options but MSS and window
// scale, it does not look at checksums, and its text is zeros, so that the sum over a segment is
// that of its header.
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <span>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "bare_tap.hpp"
#include "cases.hpp"
#include "kernel_side.hpp"

namespace tidewire::bench::bare {
namespace {

constexpr int kBatch = 64;

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

/// Connect, a byte each way, close, one after the other: the server's close comes with its byte.
class Connections {
 public:
  explicit Connections(Tap& tap) : tap_(tap), wait_(tap) {}

  void open_until_over(Meter& meter) {
    for (std::uint32_t initial = 1000; meter.running(); initial += 100'000) {
      const std::uint16_t own = next_port();
      put(own, {.seq = initial, .window = 0xffff, .flags = kSyn});
      Segment answer = await(own, [](const Segment& s) { return s.flags == (kSyn | kAck); });
      Segment out{.seq = initial + 1, .ack = answer.seq + 1, .window = 1024, .flags = kAck};
      out.text = 1;
      put(own, out);
      answer = await(own, [](const Segment& s) { return s.text > 0; });
      if ((answer.flags & kFin) == 0) {
        answer = await(own, [](const Segment& s) { return (s.flags & kFin) != 0; });
      }
      // The ACK of this FIN is read by the next connection, which passes it over.
      put(own, {.seq = initial + 2,
                .ack = answer.seq + answer.text + 1,
                .window = 1024,
                .flags = kFin | kAck});
      meter.add(1);
    }
  }

 private:
  std::uint16_t next_port() {
    if (port_ < 1024) port_ = 1024;
    return port_++;
  }
  void put(std::uint16_t own, const Segment& segment) {
    if (!tap_.send(kOneByte, segment, own)) give_up("the device has no room");
  }
  template <typename Predicate>
  Segment await(std::uint16_t own, Predicate wanted) {
    for (;;) {
      Segment segment;
      if (!tap_.receive(segment) && !tap_.parse(wait_.exchange({}), segment)) continue;
      if (segment.own != own) continue;
      if ((segment.flags & kRst) != 0) give_up("a connection was reset");
      if (wanted(segment)) return segment;
    }
  }

  Tap& tap_;
  Epoll wait_;
  std::uint16_t port_ = 1024;
};

struct Case {
  std::string name;
  Service service;
  void (*work)(Tap&, Service, Meter&);
};
template <void (Connection::*kWork)(Meter&)>
void on_one_connection(Tap& tap, Service service, Meter& meter) {
  Connection connection(tap, service);
  connection.connect();
  (connection.*kWork)(meter);
}
void on_many_connections(Tap& tap, Service, Meter& meter) {
  Connections(tap).open_until_over(meter);
}

const std::array kCases{
    Case{"bare_out", kSink, &on_one_connection<&Connection::send_until_over>},
    Case{"bare_in", kSource, &on_one_connection<&Connection::receive_until_over>},
    Case{"bare_round_trips", kEcho, &on_one_connection<&Connection::echo_until_over<Epoll>>},
    Case{"bare_round_trips_blocking", kEcho,
         &on_one_connection<&Connection::echo_until_over<Blocking>>},
    Case{"bare_round_trips_uring", kEcho, &on_one_connection<&Connection::echo_until_over<Ring>>},
    Case{"bare_connections", kOneByte, &on_many_connections},
};

int run(const Case& what, double seconds, int cores) {
  enter_namespace();
  shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
  Tap tap;
  pin(0);
  const Child server([&] { serve(what.service); });
  pin(cores == 1 ? 0 : 1);
  usleep(100'000);  // the server listens
  Meter meter(seconds);
  what.work(tap, what.service, meter);
  std::printf("%s %.3f %s\n", what.name.c_str(), meter.rate(what.service),
              is_bulk(what.service)      ? "Gbit/s"
              : what.service == kOneByte ? "connections/s"
                                         : "round trips/s");
  return 0;
}

}  // namespace
}  // namespace tidewire::bench::bare

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  using namespace tidewire::bench::bare;
  const double seconds = seconds_argument(argc, argv);
  const int cores = cores_argument(argc, argv, 2);
  std::vector<std::string> names;
  for (const Case& one : kCases) names.push_back(one.name);
  return run_cases(argc, argv, names, "bare_bench [--list | CASE [SECONDS [CORES]]]",
                   [&](std::size_t i) { return run(kCases[i], seconds, cores); });
}

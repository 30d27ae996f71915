// One flow over a described link in real time: the kernel's ends, tidewire's, and what they report.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/stack.hpp"
#include "device/backends/tap.hpp"
#include "device/wrap/impaired_device.hpp"
#include "kernel_side.hpp"
#include "runtime/clock.hpp"
#include "runtime/driver.hpp"

namespace tidewire::bench {

struct Flow {
  std::uint32_t buffer = 0;  ///< most bytes of each stream buffer, and of the window announced
  double warm_up = 0;        ///< seconds that do not count, from when the connection is there
  double seconds = 0;        ///< that do
  bool tidewire_sends = true;
  std::uint16_t sink = kSink;  ///< port of the receiver
};

/// What the receiver saw, and what the sender knows. Goes through pipes as it is.
struct Received {
  double seconds = 0;
  std::uint64_t bytes = 0;
};
struct Sent {
  std::uint32_t retransmits = 0, srtt_micros = 0, cwnd_segments = 0, reordering = 0;
  std::uint32_t recoveries = 0, timeouts = 0, undone = 0;  // of tidewire only
};

/// Counts between the end of the warm-up and the end of the time.
class Span {
 public:
  explicit Span(const Flow& flow)
      : from_(seconds_now() + flow.warm_up), until_(from_ + flow.seconds) {}
  /// `total` bytes arrived until now. True once the time is over.
  bool note(std::uint64_t total) {
    const double now = seconds_now();
    if (now >= from_ && !began_) {
      began_ = now;
      before_ = total;
    }
    if (now < until_ || !began_) return false;
    received_ = {now - *began_, total - before_};
    return true;
  }
  const Received& received() const { return received_; }

 private:
  double from_, until_;
  std::optional<double> began_;
  std::uint64_t before_ = 0;
  Received received_;
};

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) give_up("pipe");
  }
  template <typename T>
  void put(const T& value) const {
    if (write(ends_[1], &value, sizeof value) != sizeof value) give_up("a pipe");
  }
  template <typename T>
  T take() const {
    T value;
    if (read(ends_[0], &value, sizeof value) != sizeof value) give_up("a pipe");
    return value;
  }
  int descriptor() const { return ends_[0]; }

 private:
  int ends_[2] = {-1, -1};
};

/// Notices that something is in a pipe.
class News final : public runtime::IoHandler {
 public:
  News(runtime::Driver& driver, const Pipe& pipe) {
    if (!driver.poller().add(pipe.descriptor(), runtime::kIoRead, *this)) give_up("epoll");
  }
  void on_io(int, std::uint32_t, Instant) override { here_ = true; }
  bool here() const { return here_; }

 private:
  bool here_ = false;
};

// --- the kernel's ends ---

/// Buffers as large as tidewire's; the kernel counts its overhead into them, so that the receive
/// buffer needs twice as much for the same window, which is then held down (kernel_window()).
inline void set_up_kernel(const char* interface, const char* address, std::uint32_t buffer) {
  const std::string most_sent = std::to_string(buffer + buffer / 4);
  const std::string most_received = std::to_string(2 * std::uint64_t{buffer});
  const std::string name = interface;
  shell(
      "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"
      " net.ipv4.tcp_no_metrics_save=1 net.ipv4.tcp_wmem='4096 87040 " +
      most_sent + "' net.ipv4.tcp_rmem='4096 131072 " + most_received + "'");
  shell("ip addr add " + std::string(address) + "/24 dev " + name + " && ip link set " + name +
        " up txqueuelen 10000");
}

inline void kernel_window(int fd, std::uint32_t buffer) {
  const int most = static_cast<int>(buffer);
  if (setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &most, sizeof most) != 0) give_up("clamp");
}

inline void kernel_receives(const Flow& flow, const Pipe& out) {
  const int listener = kernel_listen(flow.sink);
  kernel_window(listener, flow.buffer);
  const int fd = accept(listener, nullptr, nullptr);
  if (fd < 0) give_up("accept");
  const timeval patience{0, 10'000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  Span span(flow);
  std::vector<char> block(kBlock);
  for (std::uint64_t total = 0; !span.note(total);) {
    const ssize_t n = read(fd, block.data(), block.size());
    if (n == 0 || (n < 0 && errno != EAGAIN)) give_up("the kernel's receiver");
    if (n > 0) total += static_cast<std::uint64_t>(n);
  }
  out.put(span.received());
  pause();
}

inline void kernel_sends(const Flow& flow, int fd, const Pipe& out) {
  const double until = seconds_now() + flow.warm_up + flow.seconds;
  const timeval patience{0, 10'000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const std::vector<char> block(kBlock, 'x');
  while (seconds_now() < until) {
    if (write(fd, block.data(), block.size()) < 0 && errno != EAGAIN)
      give_up("the kernel's sender");
  }
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) give_up("TCP_INFO");
  out.put(Sent{.retransmits = info.tcpi_total_retrans,
               .srtt_micros = info.tcpi_rtt,
               .cwnd_segments = info.tcpi_snd_cwnd,
               .reordering = info.tcpi_reordering});
  pause();
}

inline void kernel_accepts_and_sends(const Flow& flow, const Pipe& out) {
  const int listener = kernel_listen(kSource);
  const int fd = accept(listener, nullptr, nullptr);
  if (fd < 0) give_up("accept");
  kernel_sends(flow, fd, out);
}

// --- tidewire's end ---

class Client final : public runtime::StackOwner {
 public:
  Client(Stack& stack, const Flow& flow) : stack_(stack), flow_(flow) {}

  void start(Instant now) {
    const auto socket = stack_.open(SocketKind::tcp, Family::v4);
    if (!socket) give_up("open");
    socket_ = *socket;
    const std::uint16_t port = flow_.tidewire_sends ? flow_.sink : std::uint16_t{kSource};
    const Endpoint to{IpAddress::v4(10, 77, 0, 1), port};
    const auto started = stack_.connect(socket_, to, now);
    if (!started && started.error() != SocketError::in_progress) give_up("connect");
  }
  void on_event(const Event& event, Instant now) override {
    if (event.kind != Event::Kind::socket || event.socket != socket_) return;
    if ((event.bits & kError) != 0) return fail(now);
    if ((event.bits & kConnected) != 0 && !span_) span_.emplace(flow_);
    if (flow_.tidewire_sends) send(now);
    while (!flow_.tidewire_sends) {
      const std::size_t n = stack_.received(socket_).size();
      if (n == 0 || !stack_.consumed(socket_, n, now)) return;
      total_ += n;
    }
  }
  /// True once the time is over, for a receiver.
  bool over() { return !flow_.tidewire_sends && span_ && span_->note(total_); }
  const Received& received() const { return span_->received(); }
  Sent sent() const {
    const auto info = stack_.info(socket_);
    if (!info) give_up("the socket");
    return {.retransmits = info->retransmits,
            .srtt_micros = static_cast<std::uint32_t>(info->srtt.count_micros()),
            .cwnd_segments = info->cwnd / std::max(info->mss, 1U),
            .reordering = info->reordering,
            .recoveries = info->fast_retransmits,
            .timeouts = info->timeouts,
            .undone = info->spurious};
  }

 private:
  /// The kernel may not be there yet.
  void fail(Instant now) {
    const SocketError error = stack_.take_error(socket_);
    if (error != SocketError::connection_refused || ++tries_ == 200) {
      std::fprintf(stderr, "bench: %s\n", to_string(error).data());
      std::exit(1);
    }
    stack_.close(socket_, now);
    usleep(10'000);
    start(runtime::Clock::now());
  }
  void send(Instant now) {
    while (const std::size_t n = stack_.send_space(socket_, kBlock).size()) {
      if (!stack_.sent(socket_, n, {}, now)) return;
    }
  }

  Stack& stack_;
  const Flow& flow_;
  SocketId socket_;
  std::optional<Span> span_;
  std::uint64_t total_ = 0;
  int tries_ = 0;
};

inline std::unique_ptr<device::Device> open_tap(const char* name) {
  auto opened = device::open_tap({.name = name, .tun = false, .offloads = false, .mac = {}});
  if (opened) return std::move(*opened);
  std::fprintf(stderr, "bench: %s\n", opened.error().c_str());
  std::exit(1);
}

/// Both directions of TAP device `name` as `net` describes; `seed` decides who is lost.
inline std::unique_ptr<device::Device> open_impaired_tap(const char* name,
                                                         const device::NetSpec& net,
                                                         std::uint64_t seed) {
  return std::make_unique<device::ImpairedDevice>(
      open_tap(name), device::ImpairedDevice::Options{
                          .spec = net, .seed = {seed, 2026}, .origin = runtime::Clock::now()});
}

/// Hands a received frame on, with patience for a full device.
inline void forward(const RxFrame& received, device::Device& to) {
  TxFrame frame;
  frame.headers = received.head;
  frame.payload = received.more;
  for (int tries = 0; to.push(frame) == PushResult::full; ++tries) {
    if (tries == 100'000) give_up("a device that stays full");
    usleep(20);
  }
}

}  // namespace tidewire::bench

// A virtual host behind a gateway for tests: real loopback sockets on one side, a stack on the
// other, a link without delay between them.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/memory.hpp"
#include "device/device.hpp"
#include "front/gateway/gateway.hpp"
#include "runtime/clock.hpp"
#include "runtime/sockaddr.hpp"

namespace tidewire::gateway::testing {

/// One end of a link that delivers at once; super-segments pass whole.
class WireEnd final : public device::Device {
 public:
  void connect(WireEnd& other) { other_ = &other; }
  device::Capabilities capabilities() const noexcept override {
    return {.medium = Medium::ip,
            .mtu = 1500,
            .mac = {},
            .tx_checksum = true,
            .tx_segmentation = true,
            .tx_udp_segmentation = true,
            .rx_trusted = true};
  }
  std::string_view name() const noexcept override { return "wire"; }
  PushResult push(const TxFrame& frame) noexcept override {
    std::vector<std::byte> bytes(frame.headers.begin(), frame.headers.end());
    for (const Bytes part : frame.payload) bytes.insert(bytes.end(), part.begin(), part.end());
    other_->arriving_.push_back({std::move(bytes), static_cast<std::uint16_t>(frame.seg_size),
                                 frame.segs, frame.checksum_pending});
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    lent_.clear();
    frames_.clear();
    while (!arriving_.empty() && lent_.size() < limit) {
      lent_.push_back(std::move(arriving_.front()));
      arriving_.pop_front();
    }
    for (const Frame& frame : lent_) {
      RxFrame& rx = frames_.emplace_back();
      rx.head = frame.bytes;
      rx.seg_size = frame.seg_size;
      rx.segs = frame.segs;
      rx.checksum = frame.partial ? ChecksumState::partial : ChecksumState::verified;
      rx.ingress = now;
    }
    return frames_;
  }
  Instant next_deadline() noexcept override {
    return arriving_.empty() ? Instant::never() : Instant{};
  }

 private:
  struct Frame {
    std::vector<std::byte> bytes;
    std::uint16_t seg_size = 0;
    std::uint16_t segs = 1;
    bool partial = false;
  };
  WireEnd* other_ = nullptr;
  std::deque<Frame> arriving_;
  std::vector<Frame> lent_;
  std::vector<RxFrame> frames_;
};

/// Remembers which events each socket of the virtual host had.
class Net final : public runtime::StackOwner {
 public:
  explicit Net(GatewayConfig config = {})
      : host(stack_config(), host_memory, {1, 1}, runtime::Clock::now()),
        gateway_stack(stack_config(), gateway_memory, {2, 2}, runtime::Clock::now()) {
    host_end_.connect(gateway_end_);
    gateway_end_.connect(host_end_);
    driver.add_stack(host, this);
    driver.add_stack(gateway_stack, nullptr);
    const InterfaceId eth = add(host, host_end_, IpAddress::v4(10, 0, 2, 15));
    const InterfaceId link = add(gateway_stack, gateway_end_, config.address);
    EXPECT_TRUE(host.add_route({.destination = {}, .gateway = config.address, .interface = eth})
                    .has_value());
    config.default_target = IpAddress::v4(10, 0, 2, 15);
    gateway = std::make_unique<Gateway>(driver, gateway_stack, config);
    gateway->serve(link);
  }

  void on_event(const Event& event, Instant) override { seen[event.socket] |= event.bits; }

  /// Runs the loop until `condition` holds; false after five seconds.
  template <typename Condition>
  bool until(Condition condition) {
    const Instant limit = runtime::Clock::now() + Duration::seconds(5);
    // Sockets of the host are looked at by the condition only: nothing wakes the loop for them.
    for (;;) {
      const Instant now = runtime::Clock::now();
      if (driver.run_until(condition, now + Duration::millis(1))) return true;
      if (now > limit) return false;
    }
  }
  void run_for(Duration d) { driver.run(runtime::Clock::now() + d); }

  SocketId connect(SocketKind kind, std::uint16_t port, IpAddress to = IpAddress::v4(10, 0, 2, 2)) {
    const auto socket = host.open(kind, Family::v4);
    EXPECT_TRUE(socket.has_value());
    (void)host.connect(*socket, Endpoint{to, port, 0}, runtime::Clock::now());
    return *socket;
  }
  bool connected(SocketId s) { return (seen[s] & (kConnected | kError)) == kConnected; }
  bool failed(SocketId s) { return (seen[s] & kError) != 0; }

  void send(SocketId s, std::string_view text) {
    (void)host.send(s, as_bytes(text.data(), text.size()), {}, runtime::Clock::now());
  }
  /// Everything that can be read now.
  std::string read(SocketId s) {
    std::string text(std::size_t{1} << 20, '\0');
    const auto n = host.receive(s, MutBytes(reinterpret_cast<std::byte*>(text.data()), text.size()),
                                {}, runtime::Clock::now());
    text.resize(n.value_or(0));
    return text;
  }
  bool at_end(SocketId s) { return host.received(s).end_of_stream && host.received(s).size() == 0; }

  HeapMemory host_memory{std::size_t{256} << 20};
  HeapMemory gateway_memory{std::size_t{256} << 20};
  Stack host;
  Stack gateway_stack;
  runtime::Driver driver;
  std::map<SocketId, std::uint16_t> seen;
  std::unique_ptr<Gateway> gateway;

 private:
  static StackConfig stack_config() {
    StackConfig config;
    config.timer_accuracy = Duration::micros(250);
    return config;
  }
  InterfaceId add(Stack& stack, device::Device& device, IpAddress address) {
    const Instant now = runtime::Clock::now();
    const auto id = stack.add_interface(
        {.name = "link0", .medium = Medium::ip, .mac = {}, .mtu = 1500, .trusted = true}, now);
    EXPECT_TRUE(id.has_value());
    EXPECT_TRUE(stack.add_address(*id, {address, 24}, now).has_value());
    driver.attach(stack, *id, device);
    return *id;
  }

  WireEnd host_end_, gateway_end_;
};

/// A non-blocking socket of the host on 127.0.0.1.
class HostSocket {
 public:
  explicit HostSocket(int type) : fd_(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}
  explicit HostSocket(runtime::Fd fd) : fd_(std::move(fd)) {}

  static HostSocket listening() {
    HostSocket s(SOCK_STREAM);
    s.bind_free();
    EXPECT_EQ(::listen(s.fd(), 16), 0);
    return s;
  }
  static HostSocket datagrams() {
    HostSocket s(SOCK_DGRAM);
    s.bind_free();
    return s;
  }
  void bind_free() {
    const auto any = runtime::to_socket_address({IpAddress::loopback(Family::v4), 0, 0});
    EXPECT_EQ(::bind(fd(), any.get(), any.length), 0);
  }
  std::uint16_t port() const {
    runtime::SocketAddress address;
    getsockname(fd(), address.get(), &address.length);
    return runtime::to_endpoint(address).port;
  }
  void connect(std::uint16_t port) {
    const auto to = runtime::to_socket_address({IpAddress::loopback(Family::v4), port, 0});
    (void)::connect(fd(), to.get(), to.length);
  }
  std::optional<HostSocket> accept() {
    runtime::Fd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return std::nullopt;
    return HostSocket(std::move(fd));
  }
  ssize_t send(std::string_view text) {
    return ::send(fd(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  /// Appends what is there; false at the end of the stream.
  bool read_into(std::string& text) {
    std::vector<char> buffer(std::size_t{1} << 18);
    for (;;) {
      const ssize_t n = recv(fd(), buffer.data(), buffer.size(), 0);
      if (n == 0) return false;
      if (n < 0) {
        error = errno == EAGAIN ? 0 : errno;
        return error == 0;
      }
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }
  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }
  int error = 0;

 private:
  runtime::Fd fd_;
};

}  // namespace tidewire::gateway::testing

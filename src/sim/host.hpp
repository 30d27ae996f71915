// One host of a simulated world: a stack, its memory, its devices and its applications.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/stack.hpp"
#include "device/device.hpp"
#include "device/pcapng.hpp"
#include "sim/adversary.hpp"

namespace tidewire::sim {

class Host;

/// A program on a host, as a state machine. Gets the events of the sockets it watches.
class Application {
 public:
  virtual ~Application() = default;
  virtual void on_event(const Event& event, Instant now) = 0;
  /// When run() wants to be called.
  virtual Instant deadline() const { return Instant::never(); }
  virtual void run(Instant now) { (void)now; }
  /// For the watchdog: what it waits for; empty when it is done.
  virtual std::string waiting_for() const { return {}; }

 protected:
  Application() = default;
  Application(const Application&) = default;
  Application& operator=(const Application&) = default;
};

struct HostOptions {
  StackConfig stack;
  std::size_t memory_cap = std::size_t{512} << 20;
};

class Host {
 public:
  Host(std::string name, const HostOptions& options, const RandomSeed& seed,
       const AdversaryOptions& adversary, Instant now);

  Stack& stack() noexcept { return stack_; }
  const Stack& stack() const noexcept { return stack_; }
  HeapMemory& memory() noexcept { return memory_; }
  const std::string& name() const noexcept { return name_; }
  Instant now() const noexcept { return now_; }

  /// Puts a device into the host; `address` may be absent.
  InterfaceId attach(std::unique_ptr<device::Device> device, const std::optional<IpCidr>& address,
                     bool loopback = false);
  /// Records what passes the device of an interface from now on. `writer` outlives the host.
  void capture(InterfaceId interface, device::PcapngWriter& writer);
  device::Device& device(InterfaceId interface) noexcept { return *ports_.at(interface)->device; }

  /// Events of `socket` go to `application`, which the host owns from add() on.
  void watch(SocketId socket, Application& application);
  void unwatch(SocketId socket);
  /// Gets events of sockets that nobody watches, and forward events.
  void set_fallback(Application* application) noexcept { fallback_ = application; }
  template <typename App, typename... Args>
  App& add(Args&&... args) {
    auto app = std::make_unique<App>(*this, std::forward<Args>(args)...);
    App& reference = *app;
    applications_.push_back(std::move(app));
    return reference;
  }

  /// When the host wants a turn.
  Instant next_deadline();
  /// One turn of the driver at `now`.
  void turn(Instant now);
  /// What is not at rest, for a watchdog; one line each.
  std::string explain() const;

 private:
  struct Port {
    InterfaceId interface = kNoInterface;
    std::unique_ptr<device::Device> device;
    bool blocked = false;
    bool up = true;
    Instant full_until;  ///< by the adversary
  };
  struct Sink final : TxSink {
    explicit Sink(Host& h) noexcept : host(h) {}
    PushResult push(const TxFrame& frame) noexcept override { return host.push(frame); }
    Host& host;
  };
  struct SocketHash {
    std::size_t operator()(const SocketId& id) const noexcept {
      return (std::size_t{id.index} << 32 | id.generation) * 3 + static_cast<std::size_t>(id.kind);
    }
  };

  PushResult push(const TxFrame& frame) noexcept;
  void receive(Port& port);
  void check(Port& port);
  void run_timers();
  void dispatch();
  void transmit();

  std::string name_;
  HeapMemory memory_;
  Adversary adversary_;
  Instant now_;
  Stack stack_;
  Sink sink_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::unordered_map<SocketId, Application*, SocketHash> watched_;
  std::vector<std::unique_ptr<Application>> applications_;
  Application* fallback_ = nullptr;
  bool more_ = true;    ///< wants another turn at once
  Instant late_until_;  ///< not served before this
  bool late_drawn_ = false;
};

}  // namespace tidewire::sim

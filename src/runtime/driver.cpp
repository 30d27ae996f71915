#include "runtime/driver.hpp"

#include <algorithm>
#include <utility>

#include "runtime/clock.hpp"

namespace tidewire::runtime {
namespace {

/// How often in a turn frames go over links in memory: there and back.
constexpr int kRounds = 2;
/// Of turns in a row without a look at the descriptors.
constexpr Duration kUnlooked = Duration::micros(100);

/// Whether a device has the answer to what was written to it by the time the write is done. A peer
/// on the same core that runs as soon as it is woken answers within the write, and others later.
class AtOnce {
 public:
  bool expected() noexcept { return belief_ > 0 || ++passed_ % kTryAgain == 0; }
  void note(bool came) noexcept {
    if (came) {
      belief_ = std::min(belief_ + 1, kMost);
    } else {
      belief_ = std::max(belief_ - 2, 0);
    }
  }

 private:
  static constexpr int kMost = 8;
  static constexpr unsigned kTryAgain = 16;
  int belief_ = 0;
  unsigned passed_ = 0;
};

}  // namespace

/// One device and the interface it belongs to.
class alignas(64) Driver::Port final : public IoHandler {
 public:
  Port(Host& host, InterfaceId interface, device::Device& device, Poller& poller)
      : host_(host),
        interface_(interface),
        device_(device),
        poller_(poller),
        life_(device.frames_stay() ? FrameLife::until_settled : FrameLife::this_call) {
    if (device.descriptor() < 0) return;
    if (auto watch = poller.add(device.descriptor(), kIoRead, *this)) watch_ = *watch;
  }
  ~Port() { poller_.remove(watch_); }

  void on_io(int, std::uint32_t ready, Instant) override {
    if ((ready & ~std::uint32_t{kIoWrite}) != 0) readable_ = true;
  }

  PushResult push(const TxFrame& frame) noexcept {
    const PushResult result = device_.push(frame);
    if (result == PushResult::full) set_blocked(true);
    written_ = true;
    return result;
  }

  /// True if the next turn should read without waiting for a word of the poller.
  bool look_at_once(Instant now) noexcept {
    if (!written_ || readable_ || device_.descriptor() < 0) return false;
    if (device_.next_deadline() <= now) return false;  // it has something of its own to tell
    guessed_ = readable_ = at_once_.expected();
    return guessed_;
  }

  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept {
    const auto frames = device_.receive(now, limit);
    if (std::exchange(guessed_, false)) at_once_.note(!frames.empty());
    return frames;
  }

  void set_blocked(bool blocked) noexcept {
    if (blocked_ == blocked) return;
    blocked_ = blocked;
    watch_for(blocked);
  }

  void watch_for(bool writable) noexcept {
    if (!up_) return;
    poller_.set(watch_, writable ? kIoRead | kIoWrite : std::uint32_t{kIoRead});
  }

  Host& host_;
  InterfaceId interface_;
  device::Device& device_;
  Poller& poller_;
  FrameLife life_;
  WatchId watch_;
  AtOnce at_once_;
  bool readable_ = true;  ///< nobody knows at first
  bool guessed_ = false;  ///< the poller did not say so
  bool written_ = false;  ///< in this turn
  bool blocked_ = false;
  bool up_ = true;
};

/// A stack, its owner and where its frames go.
struct alignas(64) Driver::Host final : TxSink {
  Host(Stack& s, StackOwner* o) : stack(s), owner(o) {}

  PushResult push(const TxFrame& frame) noexcept override {
    if (frame.interface >= by_interface.size()) return PushResult::taken;
    Port* port = by_interface[frame.interface];
    return port == nullptr ? PushResult::taken : port->push(frame);
  }

  Stack& stack;
  StackOwner* owner;
  std::vector<Port*> by_interface;
};

Driver::Driver(const DriverOptions& options) : options_(options) {
  (void)poller_.add(stop_.descriptor(), kIoRead, silent_);
}

Driver::~Driver() = default;

void Driver::add_stack(Stack& stack, StackOwner* owner) {
  hosts_.push_back(std::make_unique<Host>(stack, owner));
}

Driver::Host* Driver::find(const Stack& stack) noexcept {
  const auto it = std::ranges::find_if(hosts_, [&](const auto& h) { return &h->stack == &stack; });
  return it == hosts_.end() ? nullptr : it->get();
}

void Driver::set_owner(Stack& stack, StackOwner* owner) noexcept {
  if (Host* host = find(stack)) host->owner = owner;
}

void Driver::attach(Stack& stack, InterfaceId interface, device::Device& device) {
  Host* host = find(stack);
  if (host == nullptr) return;
  ports_.push_back(std::make_unique<Port>(*host, interface, device, poller_));
  if (host->by_interface.size() <= interface) host->by_interface.resize(interface + 1U);
  host->by_interface[interface] = ports_.back().get();
}

void Driver::run(Instant until) {
  (void)run_until([] { return false; }, until);
}

Instant Driver::turn() {
  const Instant now = Clock::now();
  more_ = false;
  for (const auto& port : ports_) port->device_.advance(now);
  // An owner that hears of what came may attach a device.
  for (std::size_t i = 0; i < ports_.size(); ++i) more_ |= receive(*ports_[i], now);
  check_ports(now);
  for (const auto& host : hosts_) {
    if (host->stack.next_deadline() <= now) host->stack.on_timeout(now);
  }
  // A task may add or remove tasks, itself included.
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i]->next_deadline() <= now) tasks_[i]->run(now);
  }
  for (const auto& host : hosts_) dispatch(*host, now);
  for (std::size_t i = 0; i < tasks_.size(); ++i) tasks_[i]->before_transmit(now);
  Instant round_at = now;
  for (int round = 0; round < kRounds; ++round) {
    for (const auto& host : hosts_) transmit(*host, round_at);
    if (!move_on(round_at)) break;
    more_ = true;
    // There and back takes time: round-trip times are measured by it.
    round_at = Clock::now();
    for (const auto& port : ports_) port->device_.advance(round_at);
  }
  for (const auto& port : ports_) port->device_.flush();
  for (std::size_t i = 0; i < tasks_.size(); ++i) tasks_[i]->after_turn(now);
  // Nothing points into a device between turns.
  for (const auto& host : hosts_) host->stack.settle_frames();
  return now;
}

/// What was sent over links in memory may have arrived there at once. False: nothing has.
bool Driver::move_on(Instant now) {
  bool any = false;
  // First those that are lent text: it stays only until its sender's stack does anything else.
  for (const bool lent : {true, false}) {
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      Port& port = *ports_[i];
      if (port.device_.descriptor() >= 0 || port.device_.next_deadline() > now) continue;
      if (lent && port.device_.lent() == 0) continue;
      any = true;
      Host& host = port.host_;
      flush(host);
      more_ |= receive(port, now);
      dispatch(host, now);
      if (host.owner != nullptr) host.owner->after_events(now);
      host.stack.settle_frames();
    }
  }
  return any;
}

void Driver::flush(Host& host) {
  for (Port* port : host.by_interface) {
    if (port != nullptr) port->device_.flush();
  }
}

bool Driver::receive(Port& port, Instant now) {
  port.written_ = false;
  if (!port.readable_ && port.device_.next_deadline() > now) return false;
  Host& host = port.host_;
  std::size_t frames_in = 0;
  std::size_t bytes_in = 0;
  while (frames_in < options_.receive_frames && bytes_in < options_.receive_bytes) {
    // What the owner takes out of the last batch frees memory that the core's cache still has.
    if (frames_in > 0) dispatch(host, now);
    host.stack.settle_frames();
    const auto frames = port.receive(now, options_.receive_batch);
    if (!frames.empty()) host.stack.on_frames(port.interface_, frames, now, port.life_);
    if (frames.size() < options_.receive_batch && !port.device_.receive_again()) {
      // A descriptor is level triggered: epoll tells again if something is left.
      port.readable_ = false;
      return false;
    }
    frames_in += std::max<std::size_t>(1, frames.size());
    for (const RxFrame& frame : frames) bytes_in += frame.size();
  }
  return true;
}

void Driver::check_ports(Instant now) {
  for (const auto& port : ports_) {
    if (port->blocked_ && port->device_.writable()) {
      port->set_blocked(false);
      port->host_.stack.on_writable(port->interface_, now);
    }
    const bool up = port->device_.link_up();
    if (up == port->up_) continue;
    if (!up) poller_.set(port->watch_, kIoNone);
    port->up_ = up;
    if (up) port->watch_for(port->blocked_);
    port->host_.stack.on_link(port->interface_, up ? LinkState::up : LinkState::down,
                              port->device_.capabilities().mtu, now);
  }
}

void Driver::dispatch(Host& host, Instant now) {
  if (host.owner == nullptr) return;
  for (std::size_t i = 0; i < options_.events_per_turn; ++i) {
    const auto event = host.stack.poll_event();
    if (!event) return;
    host.owner->on_event(*event, now);
  }
  more_ = true;
}

void Driver::transmit(Host& host, Instant now) {
  if (host.stack.poll_transmit(host, now, options_.budget) == Transmit::budget_spent) more_ = true;
}

Instant Driver::next_deadline() {
  Instant deadline = Instant::never();
  for (const auto& host : hosts_) deadline = earlier(deadline, host->stack.next_deadline());
  for (const auto& port : ports_) {
    deadline = earlier(deadline, port->device_.next_deadline());
  }
  for (Task* task : tasks_) deadline = earlier(deadline, task->next_deadline());
  return deadline;
}

/// A read in place of a wait, which would only say that there is something to read.
bool Driver::look_at_once(Instant now) {
  if (!first_unlooked_) first_unlooked_ = now;
  // The poller may have news of other descriptors.
  if (now - *first_unlooked_ >= kUnlooked) return false;
  bool any = false;
  for (const auto& port : ports_) any |= port->look_at_once(now);
  return any;
}

bool Driver::wait(Instant now, Instant until) {
  if (look_at_once(now)) return false;
  first_unlooked_.reset();
  Instant deadline = more_ ? Instant::from_nanos(0) : earlier(until, next_deadline());
  if (deadline <= now) deadline = Instant::from_nanos(0);
  (void)poller_.wait(deadline, options_.spin);
  return true;
}

std::vector<Driver::PortState> Driver::ports() const {
  std::vector<PortState> states;
  for (const auto& port : ports_) {
    states.push_back({&port->host_.stack, port->device_.name(), port->blocked_, port->up_});
  }
  return states;
}

}  // namespace tidewire::runtime

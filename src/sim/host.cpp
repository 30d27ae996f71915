#include "sim/host.hpp"

#include <utility>

#include "device/wrap/capture.hpp"
#include "device/wrap/offload_emulator.hpp"

namespace tidewire::sim {
namespace {

constexpr std::size_t kBatch = 64;
constexpr std::size_t kEventsPerTurn = 4096;
constexpr Duration kEventDelay = Duration::micros(50);

std::string ms(Duration d) { return std::to_string(d.count_micros()) + " us"; }

std::string describe(const SocketInfo& s) {
  std::string text = to_string(s.local) + " - " + to_string(s.remote) + " ";
  text += s.protocol == Protocol::tcp ? std::string(to_string(s.state)) : std::string("udp");
  text += " receive queue " + std::to_string(s.receive_queue) + ", send queue " +
          std::to_string(s.send_queue) + " (unsent " + std::to_string(s.send_unsent) + ")";
  if (s.protocol == Protocol::tcp && s.state != TcpState::listen) {
    text += ", cwnd " + std::to_string(s.cwnd) + ", in flight " + std::to_string(s.in_flight) +
            ", send window " + std::to_string(s.send_window) + ", receive window " +
            std::to_string(s.receive_window) + ", rto " + ms(s.rto) + ", backoff " +
            std::to_string(s.backoff) + ", limited by " + std::string(s.limited_by);
  }
  return text;
}

}  // namespace

Host::Host(std::string name, const HostOptions& options, const RandomSeed& seed,
           const AdversaryOptions& adversary, Instant now)
    : name_(std::move(name)),
      memory_(options.memory_cap),
      adversary_(adversary, derive(seed, 1)),
      now_(now),
      stack_(options.stack, memory_, derive(seed, 2), now),
      sink_(*this) {}

InterfaceId Host::attach(std::unique_ptr<device::Device> device,
                         const std::optional<IpCidr>& address, bool loopback) {
  const device::Capabilities can = device->capabilities();
  InterfaceConfig config;
  config.name = device->name();
  config.medium = can.medium;
  config.mac = can.mac;
  config.mtu = can.mtu;
  config.loopback = loopback;
  config.trusted = can.rx_trusted;
  const SocketResult<InterfaceId> id = stack_.add_interface(config, now_);
  if (!id) return kNoInterface;
  if (ports_.size() <= *id) ports_.resize(*id + std::size_t{1});
  auto port = std::make_unique<Port>();
  port->interface = *id;
  port->device = std::move(device);
  ports_[*id] = std::move(port);
  if (address) (void)stack_.add_address(*id, *address, now_);
  more_ = true;
  return *id;
}

void Host::capture(InterfaceId interface, device::PcapngWriter& writer) {
  std::unique_ptr<device::Device>& device = ports_.at(interface)->device;
  device = std::make_unique<device::Capture>(std::move(device), writer);
}

void Host::watch(SocketId socket, Application& application) { watched_[socket] = &application; }

void Host::unwatch(SocketId socket) { watched_.erase(socket); }

Instant Host::next_deadline() {
  Instant next = stack_.next_deadline();
  for (const auto& port : ports_) {
    if (!port) continue;
    next = earlier(next, port->device->next_deadline());
    if (port->blocked && port->full_until > now_) next = earlier(next, port->full_until);
  }
  for (const auto& app : applications_) next = earlier(next, app->deadline());
  if (more_) next = earlier(next, now_);
  return later(next, late_until_);
}

void Host::turn(Instant now) {
  now_ = later(now_, now);
  for (const auto& port : ports_) {
    if (port) port->device->advance(now_);
  }
  if (adversary_.active() && next_deadline() <= now_ && !std::exchange(late_drawn_, true)) {
    const Duration late = adversary_.late();
    if (late > Duration::zero()) {
      late_until_ = now_ + late;
      return;
    }
  }
  if (now_ < late_until_) return;
  late_drawn_ = more_ = false;
  const bool timers_first = adversary_.coin();
  if (timers_first) run_timers();
  for (const auto& port : ports_) {
    if (!port) continue;
    receive(*port);
    check(*port);
  }
  if (!timers_first) run_timers();
  if (adversary_.coin()) transmit();
  dispatch();
  transmit();
}

void Host::receive(Port& port) {
  // A bounded number of batches, so that a stack that echoes on a perfect link gets its turn.
  for (int batch = 0; batch < 16; ++batch) {
    const std::size_t limit = adversary_.batch(kBatch);
    std::span<const RxFrame> frames = port.device->receive(now_, limit);
    if (frames.empty()) return;
    while (!frames.empty()) {
      const std::size_t piece = adversary_.batch(frames.size());
      stack_.on_frames(port.interface, frames.first(piece), now_);
      frames = frames.subspan(piece);
    }
  }
  more_ = true;
}

void Host::check(Port& port) {
  if (port.blocked && port.full_until <= now_ && port.device->writable()) {
    port.blocked = false;
    stack_.on_writable(port.interface, now_);
  }
  const bool up = port.device->link_up();
  if (up != port.up) {
    port.up = up;
    stack_.on_link(port.interface, up ? LinkState::up : LinkState::down,
                   port.device->capabilities().mtu, now_);
  }
}

void Host::run_timers() {
  if (stack_.next_deadline() <= now_) stack_.on_timeout(now_);
  for (std::size_t i = 0; i < applications_.size(); ++i) {
    if (applications_[i]->deadline() <= now_) applications_[i]->run(now_);
  }
}

void Host::dispatch() {
  for (std::size_t i = 0; i < kEventsPerTurn; ++i) {
    if (adversary_.coin()) {  // later
      late_until_ = later(late_until_, now_ + kEventDelay);
      more_ = true;
      return;
    }
    const std::optional<Event> event = stack_.poll_event();
    if (!event) return;
    Application* target = fallback_;
    if (event->kind == Event::Kind::socket) {
      const auto it = watched_.find(event->socket);
      if (it != watched_.end()) target = it->second;
    }
    if (target != nullptr) target->on_event(*event, now_);
  }
  more_ = true;
}

void Host::transmit() {
  for (int i = 0; i < 64; ++i) {
    if (stack_.poll_transmit(sink_, now_, adversary_.budget()) != Transmit::budget_spent) return;
    if (adversary_.active() && adversary_.coin()) break;
  }
  more_ = true;
}

PushResult Host::push(const TxFrame& frame) noexcept {
  if (frame.interface >= ports_.size() || !ports_[frame.interface]) return PushResult::taken;
  Port& port = *ports_[frame.interface];
  if (port.full_until > now_) {
    port.blocked = true;
    return PushResult::full;
  }
  const Duration full = adversary_.full();
  if (full > Duration::zero()) {
    port.full_until = now_ + full;
    port.blocked = true;
    return PushResult::full;
  }
  const PushResult result = port.device->push(frame);
  if (result == PushResult::full) port.blocked = true;
  return result;
}

std::string Host::explain() const {
  std::string text;
  SocketId at;
  std::size_t shown = 0;
  for (auto s = stack_.next_socket(at); s; s = stack_.next_socket(s->id)) {
    const bool quiet = s->protocol == Protocol::tcp
                           ? s->state == TcpState::listen || s->state == TcpState::time_wait
                           : s->receive_queue == 0;
    if (quiet || ++shown > 20) continue;
    text += "  " + name_ + ": " + describe(*s) + "\n";
  }
  if (shown > 20) text += "  " + name_ + ": and " + std::to_string(shown - 20) + " more\n";
  for (const auto& port : ports_) {
    if (port && port->blocked) {
      text += "  " + name_ + ": device " + std::string(port->device->name()) + " is full\n";
    }
  }
  for (const auto& app : applications_) {
    const std::string waits = app->waiting_for();
    if (!waits.empty()) text += "  " + name_ + ": " + waits + "\n";
  }
  const Counters& counters = stack_.counters();
  for (std::size_t i = 0; i < counters.drops.size(); ++i) {
    if (counters.drops[i] == 0) continue;
    text += "  " + name_ + ": dropped " + std::to_string(counters.drops[i]) + " " +
            std::string(to_string(static_cast<DropReason>(i))) + "\n";
  }
  return text;
}

}  // namespace tidewire::sim

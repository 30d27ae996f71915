#include "sim/world.hpp"

#include <algorithm>
#include <utility>

#include "device/backends/loopback.hpp"

namespace tidewire::sim {
namespace {

constexpr std::uint64_t kMostTurnsAtOneInstant = 100'000;

}  // namespace

std::string_view to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::done:
      return "done";
    case Outcome::idle:
      return "idle: nothing will ever happen again";
    case Outcome::time_up:
      return "the virtual time is up";
    case Outcome::too_many_steps:
      return "too many steps";
  }
  return "?";
}

World::World(const RandomSeed& seed, const AdversaryOptions& adversary)
    : seed_(seed), adversary_(adversary) {}

Host& World::add_host(std::string name, const HostOptions& options) {
  const RandomSeed seed = derive(seed_, 1000 + hosts_.size());
  hosts_.push_back(std::make_unique<Host>(std::move(name), options, seed, adversary_, now_));
  return *hosts_.back();
}

Switch& World::add_switch() {
  switches_.push_back(std::make_unique<Switch>());
  return *switches_.back();
}

InterfaceId World::add_loopback(Host& host) {
  return host.attach(std::make_unique<device::Loopback>(), std::nullopt, true);
}

MacAddress World::next_mac() noexcept {
  ++macs_;
  return {{0x02, 0, 0, 0, static_cast<std::uint8_t>(macs_ >> 8),
           static_cast<std::uint8_t>(macs_ & 0xff)}};
}

std::shared_ptr<device::SimLink> World::make_link(const LinkOptions& options) {
  device::SimLink::Options link;
  link.name = "link" + std::to_string(links_.size());
  link.medium = options.medium;
  link.spec = options.net;
  link.mtu = options.mtu;
  link.mac_a = next_mac();
  link.mac_b = next_mac();
  link.seed = derive(seed_, 2000 + links_.size());
  link.origin = now_;
  link.offload = options.offload;
  links_.push_back(device::SimLink::make(link));
  return links_.back();
}

World::Attached World::connect(Host& a, const IpCidr& address_a, Host& b, const IpCidr& address_b,
                               const LinkOptions& options) {
  const auto link = make_link(options);
  return {link, a.attach(link->open(device::SimLink::End::a), address_a),
          b.attach(link->open(device::SimLink::End::b), address_b)};
}

World::Attached World::connect(Host& host, const IpCidr& address, Switch& to,
                               const LinkOptions& options) {
  LinkOptions plain = options;
  plain.offload = false;  // a switch forwards wire packets
  const auto link = make_link(plain);
  to.attach(link->open(device::SimLink::End::b));
  return {link, host.attach(link->open(device::SimLink::End::a), address), kNoInterface};
}

void World::play(const std::shared_ptr<device::SimLink>& link, const device::Scenario& scenario) {
  link->set_spec(scenario.start);
  for (const device::NetEvent& event : scenario.events) {
    after(event.at, [link, event] {
      link->set_spec(event.spec);
      link->set_up(event.up);
    });
  }
}

void World::at(Instant at, std::function<void()> action) {
  actions_.push_back({at, sequence_++, std::move(action)});
  std::ranges::push_heap(actions_, [](const Action& x, const Action& y) {
    return x.at != y.at ? x.at > y.at : x.sequence > y.sequence;
  });
}

Instant World::next_deadline() {
  Instant next = actions_.empty() ? Instant::never() : actions_.front().at;
  for (const auto& host : hosts_) next = earlier(next, host->next_deadline());
  for (const auto& sw : switches_) next = earlier(next, sw->next_deadline());
  return next;
}

void World::turn() {
  const std::uint64_t added_later = sequence_;  // what an action adds is for the next turn
  while (!actions_.empty() && actions_.front().at <= now_ &&
         actions_.front().sequence < added_later) {
    std::ranges::pop_heap(actions_, [](const Action& x, const Action& y) {
      return x.at != y.at ? x.at > y.at : x.sequence > y.sequence;
    });
    const std::function<void()> run = std::move(actions_.back().run);
    actions_.pop_back();
    run();
  }
  for (const auto& host : hosts_) host->turn(now_);
  for (const auto& sw : switches_) sw->turn(now_);
}

Outcome World::run_until(const std::function<bool()>& finished, Instant limit) {
  std::uint64_t at_this_instant = 0;
  turn();
  while (true) {
    if (finished && finished()) return Outcome::done;
    const Instant next = next_deadline();
    if (next.is_never()) return Outcome::idle;
    if (next > limit) {
      now_ = later(now_, limit);
      return Outcome::time_up;
    }
    at_this_instant = next > now_ ? 0 : at_this_instant + 1;
    if (++steps_ > step_limit_ || at_this_instant > kMostTurnsAtOneInstant) {
      return Outcome::too_many_steps;
    }
    now_ = later(now_, next);
    turn();
  }
}

Outcome World::run_for(Duration stretch) { return run_until({}, now_ + stretch); }

Outcome World::run_until_idle(Instant limit) { return run_until({}, limit); }

std::string World::explain() const {
  std::string text =
      "at " + std::to_string(now_.nanos()) + " ns after " + std::to_string(steps_) + " steps\n";
  for (const auto& host : hosts_) text += host->explain();
  for (const auto& link : links_) {
    if (!link->empty()) text += "  frames are under way on a link\n";
  }
  return text;
}

TwoHosts::TwoHosts(const device::NetSpec& net, const RandomSeed& seed, const LinkOptions& options,
                   const AdversaryOptions& adversary, const HostOptions& host_a,
                   const HostOptions& host_b)
    : world(seed, adversary), a(world.add_host("a", host_a)), b(world.add_host("b", host_b)) {
  LinkOptions link = options;
  link.net = net;
  attached = world.connect(a, {kAddressA, 24}, b, {kAddressB, 24}, link);
}

}  // namespace tidewire::sim

// What a Stack is made of: one context, the IP layer, the transports.
#pragma once

#include "core/context.hpp"
#include "core/ip/layer.hpp"
#include "core/ports.hpp"
#include "core/stack.hpp"
#include "core/tcp/engine.hpp"
#include "core/udp/sockets.hpp"

namespace tidewire {

class Stack::Impl final : public ip::Upper {
 public:
  Impl(const StackConfig& config_in, MemoryProvider& memory, const RandomSeed& seed,
       Instant now) noexcept
      : config(config_in),
        events(memory),
        context{config,  memory,
                seed,    Rng{derive(seed, static_cast<std::uint64_t>(SeedPurpose::rng))},
                events,  {},
                nullptr, now},
        ports(context),
        ip(context, *this),
        tcp(context, ip, ports),
        datagrams(context, ip, ports) {}

  /// Time never runs backwards.
  void at(Instant now) noexcept { context.now = later(context.now, now); }

  void deliver(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept override;
  void icmp_error(const ip::IcmpError& error) noexcept override;
  void neighbor_resolved(InterfaceId interface) noexcept override;
  void neighbor_failed(InterfaceId interface, const IpAddress& next_hop) noexcept override;
  void path_changed() noexcept override;

  StackConfig config;
  EventQueue events;
  Context context;
  PortRegistry ports;
  ip::Layer ip;
  tcp::Engine tcp;
  udp::Sockets datagrams;
};

}  // namespace tidewire

// What the tests in simulated worlds share.
#pragma once

#include <cstdint>
#include <string>

#include "sim/apps.hpp"
#include "sim/world.hpp"

namespace tidewire::sim {

constexpr std::uint16_t kPort = 7777;

inline device::NetSpec net(std::string_view words) {
  return device::parse_net_spec(words).value_or(device::NetSpec{});
}

/// One transfer between two hosts: the client on a, the server on b.
struct Transfer {
  Transfer(TwoHosts& hosts, StreamPlan client_plan, StreamPlan server_plan)
      : two(hosts), client_total(client_plan.send_total), server_total(server_plan.send_total) {
    client_plan.send_seed = server_plan.expect_seed = 11;
    client_plan.expect_seed = server_plan.send_seed = 22;
    server = &two.b.add<StreamServer>(Endpoint{IpAddress::any(Family::v4), kPort}, server_plan);
    client = &two.a.add<StreamPeer>(client_plan);
    client->connect(Endpoint{TwoHosts::kAddressB, kPort});
  }

  StreamPeer* accepted() const {
    return server->accepted().empty() ? nullptr : server->accepted().front();
  }
  bool finished() const { return client->done() && (accepted() == nullptr || accepted()->done()); }
  Outcome run(Duration limit) {
    return two.world.run_until([this] { return finished(); }, two.world.now() + limit);
  }
  /// Both ends saw an orderly end and every byte.
  bool complete() const {
    const StreamPeer* s = accepted();
    return s != nullptr && client->error() == SocketError::none &&
           s->error() == SocketError::none && client->bytes_received() == server_total &&
           s->bytes_received() == client_total;
  }
  /// What was promised and not kept; empty if all is well. An end that was told of an error may
  /// lack bytes, but nobody may get wrong ones or a false end.
  std::string violation() const {
    if (!client->intact()) return "the client received wrong bytes";
    if (client->saw_end() && client->bytes_received() != server_total) {
      return "the client saw the end after " + std::to_string(client->bytes_received()) + " bytes";
    }
    const StreamPeer* s = accepted();
    if (s == nullptr) {
      return client->error() == SocketError::none ? "nothing was accepted, and nobody was told"
                                                  : "";
    }
    if (!s->intact()) return "the server received wrong bytes";
    if (s->saw_end() && s->bytes_received() != client_total) {
      return "the server saw the end after " + std::to_string(s->bytes_received()) + " bytes";
    }
    const bool orderly = client->error() == SocketError::none && s->error() == SocketError::none;
    return orderly && !complete() ? "both ends think that all is well, but bytes are missing" : "";
  }
  std::string state() const {
    std::string text = "client: " + std::string(to_string(client->error())) + ", received " +
                       std::to_string(client->bytes_received()) + " of " +
                       std::to_string(server_total);
    if (const StreamPeer* s = accepted()) {
      text += "; server: " + std::string(to_string(s->error())) + ", received " +
              std::to_string(s->bytes_received()) + " of " + std::to_string(client_total);
    }
    return text + "\n" + two.world.explain();
  }

  TwoHosts& two;
  std::uint64_t client_total;
  std::uint64_t server_total;
  StreamServer* server = nullptr;
  StreamPeer* client = nullptr;
};

}  // namespace tidewire::sim

// Host ports that lead into the virtual network.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "front/gateway/context.hpp"
#include "front/gateway/idle_list.hpp"
#include "front/gateway/tcp_relay.hpp"

namespace tidewire::gateway {

/// `[ADDR:]HOSTPORT:[TARGET:]PORT[/tcp|/udp]`.
struct PublishSpec {
  Protocol protocol = Protocol::tcp;
  Endpoint host{IpAddress::loopback(Family::v4), 0, 0};
  Endpoint target;  ///< an unspecified address stands for the one virtual host

  friend bool operator==(const PublishSpec&, const PublishSpec&) = default;
};

/// Where connections to it go.
Endpoint target_of(const Context& context, const PublishSpec& spec);
/// The error is one line that names the right form.
Result<PublishSpec, std::string> parse_publish(std::string_view text);
std::string to_string(const PublishSpec& spec);

/// A TCP port of the host.
class PublishedTcp final : public runtime::IoHandler {
 public:
  PublishedTcp(Context& context, TcpRelays& relays) : context_(context), relays_(relays) {}
  ~PublishedTcp();
  PublishedTcp(const PublishedTcp&) = delete;
  PublishedTcp& operator=(const PublishedTcp&) = delete;

  /// The error is one line with the way out. Port 0 of the host takes a free one (see endpoint()).
  Result<void, std::string> open(const PublishSpec& spec);
  void on_io(int fd, std::uint32_t ready, Instant now) override;
  const PublishSpec& spec() const noexcept { return spec_; }

 private:
  Context& context_;
  TcpRelays& relays_;
  PublishSpec spec_;
  runtime::Fd listener_;
  runtime::WatchId watch_;
  std::uint8_t alone_ = 0;  ///< connections to come that are taken to come alone
};

/// A UDP port of the host: each host peer gets a socket of the gateway towards the target.
class PublishedUdp final : public runtime::IoHandler {
 public:
  explicit PublishedUdp(Context& context);
  ~PublishedUdp();
  PublishedUdp(const PublishedUdp&) = delete;
  PublishedUdp& operator=(const PublishedUdp&) = delete;

  Result<void, std::string> open(const PublishSpec& spec);
  void on_io(int fd, std::uint32_t ready, Instant now) override;
  const PublishSpec& spec() const noexcept { return spec_; }
  Instant next_deadline() const noexcept { return idle_.next_deadline(); }
  void expire(Instant now);

 private:
  struct Peer final : SocketUser {
    explicit Peer(PublishedUdp& owner) : port(owner) {}
    void on_socket(SocketId, std::uint16_t bits, Instant now) override;

    PublishedUdp& port;
    Endpoint host;
    SocketId socket;
    IdleLink idle;
  };

  Peer* peer_for(const Endpoint& host, Instant now);
  void send_to_host(Peer& peer, Instant now);

  Context& context_;
  PublishSpec spec_;
  runtime::Fd host_;
  runtime::WatchId watch_;
  std::vector<std::byte> buffer_;
  std::map<Endpoint, Peer> peers_;
  IdleList<Peer> idle_;
};

}  // namespace tidewire::gateway

// Carries datagrams between the virtual network and the host.
#pragma once

#include <list>
#include <map>
#include <vector>

#include "front/gateway/context.hpp"
#include "front/gateway/datagram_run.hpp"
#include "front/gateway/idle_list.hpp"
#include "runtime/fd.hpp"

namespace tidewire::gateway {

/// One host socket for each internal endpoint, whatever it talks to (RFC 4787 REQ-1:
/// endpoint-independent mapping); inbound datagrams pass if their source was addressed before
/// (address and port-dependent filtering, RFC 4787 §5). The host's ICMP errors are passed on.
class UdpNat {
 public:
  explicit UdpNat(Context& context);
  ~UdpNat();
  UdpNat(const UdpNat&) = delete;
  UdpNat& operator=(const UdpNat&) = delete;

  void on_forward(const Event& flow, Instant now);
  Instant next_deadline() const noexcept;
  void expire(Instant now);
  /// Frees what is over; not from within its own calls.
  void collect() noexcept;
  std::size_t flows() const noexcept { return flow_count_; }
  std::size_t sockets() const noexcept { return mappings_.size(); }

 private:
  struct Mapping;

  /// One destination that an internal endpoint talks to.
  struct Flow final : SocketUser {
    explicit Flow(UdpNat& owner) : nat(owner) {}
    void on_socket(SocketId, std::uint16_t bits, Instant now) override;

    UdpNat& nat;
    Mapping* mapping = nullptr;
    SocketId socket;
    Endpoint remote;  ///< as the virtual network names it
    Endpoint target;  ///< on the host
    bool dns = false;
    bool over = false;
    IdleLink idle;
  };

  /// The host socket of one internal endpoint.
  struct Mapping final : runtime::IoHandler {
    explicit Mapping(UdpNat& owner) : nat(owner) {}
    ~Mapping();
    void on_io(int fd, std::uint32_t ready, Instant now) override;

    UdpNat& nat;
    Endpoint internal;
    Family family = Family::v4;
    bool segments = false;  ///< the host cuts what we send: until it has refused once
    runtime::Fd host;
    runtime::WatchId watch;
    std::map<Endpoint, Flow*> by_target;
    std::list<Flow> flows;
  };

  struct Key {
    Endpoint internal;
    Family family;
    friend auto operator<=>(const Key&, const Key&) = default;
  };

  Mapping* mapping_for(const Endpoint& internal, Family family, int& error);
  void send_to_host(Flow& flow, Instant now);
  bool send_run(Flow& flow, Instant now);
  bool send_datagrams(Flow& flow, Bytes data, std::size_t segment, Instant now);
  bool send_singly(Flow& flow, Bytes data, std::size_t segment, Instant now);
  bool answer_host_name(Flow& flow, Bytes query, Instant now);
  void receive_from_host(Mapping& mapping, Instant now);
  void deliver(Flow& flow, Bytes data, std::size_t segment, Instant now);
  void receive_errors(Mapping& mapping, Instant now);
  void refuse(Flow& flow, ForwardReject how, Instant now);
  void end(Flow& flow, Instant now);
  void touch(Flow& flow, Instant now);

  Context& context_;
  std::map<Key, Mapping> mappings_;
  std::vector<std::byte> buffer_;
  DatagramRun run_;
  std::size_t flow_count_ = 0;
  bool to_collect_ = false;
  IdleList<Flow> idle_;
  IdleList<Flow> idle_dns_;
};

}  // namespace tidewire::gateway

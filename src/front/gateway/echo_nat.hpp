// Carries ICMP echo from the virtual network through the host's unprivileged ICMP sockets.
#pragma once

#include <list>
#include <vector>

#include "front/gateway/context.hpp"
#include "front/gateway/idle_list.hpp"
#include "runtime/fd.hpp"

namespace tidewire::gateway {

/// One host socket (SOCK_DGRAM, IPPROTO_ICMP) for each flow of echo requests. Where the host
/// forbids such sockets (net.ipv4.ping_group_range) echo requests are answered with an ICMP
/// "prohibited".
class EchoNat {
 public:
  explicit EchoNat(Context& context);
  ~EchoNat();
  EchoNat(const EchoNat&) = delete;
  EchoNat& operator=(const EchoNat&) = delete;

  void on_forward(const Event& flow, Instant now);
  Instant next_deadline() const noexcept { return idle_.next_deadline(); }
  void expire(Instant now);
  void collect() noexcept { over_.clear(); }

 private:
  struct Flow final : SocketUser, runtime::IoHandler {
    explicit Flow(EchoNat& owner) : nat(owner) {}
    ~Flow();
    void on_socket(SocketId, std::uint16_t bits, Instant now) override;
    void on_io(int fd, std::uint32_t ready, Instant now) override;

    EchoNat& nat;
    SocketId socket;
    runtime::Fd host;
    runtime::WatchId watch;
    IdleLink idle;
    bool over = false;
    std::list<Flow>::iterator self;
  };

  void send_to_host(Flow& flow, Instant now);
  void receive_from_host(Flow& flow, Instant now);
  void end(Flow& flow, Instant now);

  Context& context_;
  std::vector<std::byte> buffer_;
  std::list<Flow> flows_;
  std::list<Flow> over_;
  IdleList<Flow> idle_;
};

}  // namespace tidewire::gateway

// Carries bytes between one TCP connection of the virtual network and one of the host.
#pragma once

#include <list>
#include <optional>

#include "front/gateway/context.hpp"
#include "front/gateway/idle_list.hpp"
#include "runtime/fd.hpp"

namespace tidewire::gateway {

class TcpRelays;

/// Nothing is buffered here: bytes go from the stack's receive ring to the host's socket and from
/// there into the stack's send ring; where one side does not take more, the other is not read.
class TcpRelay final : public runtime::IoHandler, public SocketUser {
 public:
  TcpRelay(TcpRelays& relays, Context& context);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  /// A flow from the virtual network that waits for its answer: connects to `target` on the host
  /// first, so that the peer learns of a failure.
  void start_outward(const Event& flow, const Endpoint& target, Instant now);
  /// A connection that the host's listener accepted, to `target` in the virtual network.
  void start_inward(runtime::Fd host, const Endpoint& source, const Endpoint& target, Instant now);

  void on_io(int fd, std::uint32_t ready, Instant now) override;
  void on_socket(SocketId socket, std::uint16_t bits, Instant now) override;

  /// What came from the virtual network has not all reached the host, or its peer has finished and
  /// may still be answered. False for a connection whose peer may be gone without a word.
  bool owes() const;

  /// Both sides are reset; the relay is over.
  void abort(Instant now);

 private:
  friend class TcpRelays;
  enum class State : std::uint8_t { connecting_host, connecting_stack, open, over };
  enum class Step : std::uint8_t { go_on, stop, broken };

  void host_connected(Instant now);
  void reject(int error, Instant now);
  void pump(Instant now);
  Step pump_to_host(Instant now);
  Step pump_to_stack(Instant now);
  bool take_urgent(Instant now);
  std::uint8_t& relays_alone() noexcept;
  void take_after_others() noexcept;
  void note_alone(bool alone) noexcept;
  void watch();
  void use_socket(SocketId socket);
  void reset_host() noexcept;
  void finish(Instant now);
  void over() noexcept;
  void touch(Instant now);

  TcpRelays& relays_;
  Context& context_;
  State state_ = State::connecting_host;
  runtime::Fd host_;
  runtime::WatchId watch_;
  SocketId socket_;
  FlowId flow_;
  bool bulk_ = false;                ///< the last read from the host brought much
  bool host_readable_ = false;       ///< it is not known that there is nothing to read
  std::uint8_t host_alone_ = 0;      ///< reads in a row after which there was nothing more
  bool outward_ = false;             ///< opened by the virtual network
  bool first_alone_ = false;         ///< after the first read there is probably nothing more
  bool host_full_ = false;           ///< the host's socket takes no more at present
  bool stack_full_ = false;          ///< the send ring has no room
  bool host_finished_ = false;       ///< FIN from the host, passed on
  bool peer_finished_ = false;       ///< FIN from the virtual network, passed on
  bool host_told_ = false;           ///< the poller has just told that there is something to read
  bool host_urgent_ = false;         ///< an urgent octet of the host lies ahead, or did
  std::optional<std::byte> urgent_;  ///< of the virtual network, not sent to the host yet
  bool host_gone_ = false;  ///< both directions closed at the host: no more news from there
  IdleLink idle_;
  std::list<TcpRelay>::iterator self_;
};

/// All relays of a gateway.
class TcpRelays {
 public:
  explicit TcpRelays(Context& context);
  ~TcpRelays();

  void on_forward(const Event& flow, Instant now);
  /// Called by published ports.
  void accept_inward(runtime::Fd host, const Endpoint& source, const Endpoint& target, Instant now);

  Instant next_deadline() const noexcept;
  void expire(Instant now);
  /// Frees the relays that are over; not from within their own calls.
  void collect() noexcept { over_.clear(); }
  std::size_t size() const noexcept { return relays_.size(); }
  /// How many relays have something to deliver; see TcpRelay::owes().
  std::size_t owing() const;

 private:
  friend class TcpRelay;
  TcpRelay& add();

  Context& context_;
  std::list<TcpRelay> relays_;
  std::list<TcpRelay> over_;
  IdleList<TcpRelay> established_;
  IdleList<TcpRelay> transitory_;
  // Relays to come after whose first read there is probably nothing more, by direction.
  std::uint8_t inward_alone_ = 0;
  std::uint8_t outward_alone_ = 0;
};

}  // namespace tidewire::gateway

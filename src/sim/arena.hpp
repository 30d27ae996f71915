// A stack under attack, a host that only wants to be served, and an attacker who writes segments by
// hand.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/memory.hpp"
#include "base/random.hpp"
#include "core/stack.hpp"
#include "wire/icmpv4.hpp"
#include "wire/tcp.hpp"

namespace tidewire::sim {

/// What the victim sent to the attacker last.
struct Answer {
  wire::TcpRepr header;
  std::uint32_t text_len = 0;
};

/// The attacker's end of one connection.
struct Foe {
  IpAddress address = IpAddress::v4(10, 9, 0, 1);
  std::uint16_t port = 40'000;
  Seq snd_nxt{1'000'000};  ///< what the attacker sends next
  Seq rcv_nxt;             ///< what the victim sends next, as far as seen
  Seq first;               ///< of the victim's text
  SocketId served;         ///< the victim's socket, once accepted
};

/// Virtual time, no link: what the attacker sends arrives at once. The victim at 10.0.0.1 accepts
/// whatever comes to port 80 and answers with as much text as serve() was told; the honest host at
/// 10.0.0.2 has a connection from before the attack and opens another one when asked.
class Arena {
 public:
  static constexpr std::uint16_t kPort = 80;

  explicit Arena(std::uint64_t seed, const StackConfig& config = {}, std::uint32_t backlog = 1024);

  // --- the attacker ---
  void send(const IpAddress& from, const wire::TcpRepr& segment, std::uint32_t text_len = 0);
  void send_icmp(const IpAddress& from, const wire::Icmpv4Repr& message);
  /// A segment with the ACK flag of an established connection.
  void send(Foe& foe, Seq ack, std::uint16_t window, const wire::TcpOptions& options = {},
            std::uint32_t text_len = 0);
  /// A whole handshake.
  Foe connect(const wire::TcpOptions& options = {}, std::uint16_t window = 0xffff);
  wire::TcpRepr syn(const Foe& foe, const wire::TcpOptions& options, std::uint16_t window) const;
  /// Answers since the last call; the last one, if any came.
  std::optional<Answer> last_answer() { return std::exchange(last_, std::nullopt); }

  // --- the victim ---
  /// Writes until the send buffer is full.
  void serve(Foe& foe);
  /// The application lets go of all that is not the honest host's.
  void close_foes();
  /// Sockets of all states but the listener and the honest host's first.
  std::size_t sockets_left() const;
  /// Counting starts anew: what went before was preparation.
  void begin();
  /// Time passes, with all timers at their time.
  void pass(Duration time);

  // --- the honest host ---
  /// A new connection that exchanges a kilobyte each way within five seconds.
  bool serves_newcomers();
  /// The connection from before still works.
  bool old_connection_works();
  /// Its client's address and port, for forgeries.
  Endpoint old_client() const { return honest_.local_endpoint(old_).value_or(Endpoint{}); }

  Stack& victim() noexcept { return victim_; }
  HeapMemory& memory() noexcept { return victim_memory_; }
  Rng& random() noexcept { return rng_; }
  Instant now() const noexcept { return now_; }
  std::uint64_t packets() const noexcept { return packets_; }
  std::uint64_t answers() const noexcept { return answers_; }
  std::size_t most_memory() const noexcept { return most_memory_; }

 private:
  struct Sink;
  void deliver(Stack& stack, InterfaceId interface, Bytes packet);
  void route(Bytes packet);
  void settle();
  void accept_all();
  void note_progress(Foe& foe) const;
  bool echo(SocketId client);

  HeapMemory victim_memory_{std::size_t{1} << 30};
  HeapMemory honest_memory_{64U << 20};
  Instant now_ = Instant::from_nanos(0);
  Rng rng_;
  Stack victim_;
  Stack honest_;
  InterfaceId victim_interface_ = kNoInterface, honest_interface_ = kNoInterface;
  SocketId listener_;
  SocketId old_;
  std::vector<SocketId> echoes_;  // the victim's ends of the honest host's connections
  std::vector<SocketId> foes_;    // and of the attacker's
  SocketId last_accepted_;
  std::optional<Answer> last_;
  std::uint64_t packets_ = 0, answers_ = 0;
  std::size_t most_memory_ = 0;
  std::vector<std::vector<std::byte>> under_way_;
};

}  // namespace tidewire::sim

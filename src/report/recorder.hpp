// Follows a run: which flows there were, what they carried, what was sent again and why.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/stack.hpp"
#include "report/flow.hpp"
#include "runtime/driver.hpp"

namespace tidewire::report {

/// Which stack of a run a record comes from.
enum class Side : std::uint8_t {
  host,    ///< the virtual host the program runs on
  gateway  ///< the other end of the link
};

/// Reads the trace rings of the stacks of a run after every turn of the driver, and the packets
/// that taps on the link show. Everything in the driver's thread. Its memory is bounded however
/// long the run: the first `flows_max` flows are kept, further ones are counted, and a socket is
/// forgotten some time after its stack has forgotten it.
class Recorder final : public runtime::Task {
 public:
  /// Gets every trace record with the endpoints of its socket, in order; for live prints.
  using Listener =
      std::function<void(Side, const TraceRecord&, const Endpoint& local, const Endpoint& remote)>;

  /// Some 15 MB.
  static constexpr std::size_t kFlowsMax = 20'000;

  explicit Recorder(std::size_t flows_max = kFlowsMax) : flows_max_(flows_max) {}
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// Traces `stack`, which outlives the recorder or is forgotten first.
  /// `alone`: the other end is no stack, so the states of flows are those of this one.
  void observe(Side side, Stack& stack, bool alone = false);
  void forget(Stack& stack);
  void set_listener(Listener listener) { listener_ = std::move(listener); }

  /// What `side` put on the link: an IP packet, or at least its headers, that stands for `segs`
  /// packets. Datagrams and TCP's packets are counted here, the rest of TCP comes from the traces.
  void on_packet(Side side, Bytes ip_packet, std::uint16_t segs, Instant now);
  /// Names the program that owns a socket of the host.
  void set_program(SocketId socket, const std::string& program);

  Instant next_deadline() override { return Instant::never(); }
  void run(Instant) override {}
  void after_turn(Instant now) override;

  const std::deque<FlowRecord>& flows() const noexcept { return flows_; }
  /// Further ones. Where thousands alternate one may count twice, and addresses that are used again
  /// soon count once.
  std::uint64_t flows_not_recorded() const noexcept { return overflow_; }
  /// Of how many sockets something is remembered.
  std::size_t sockets_known() const noexcept;
  std::uint64_t records_lost() const noexcept { return records_lost_; }

 private:
  static constexpr std::size_t kSweepLeast = 1024;

  struct Names {
    Endpoint local, remote;
    FlowRecord* flow = nullptr;
    bool swapped = false;  ///< this socket is the `remote` end of the flow
    bool states = true;    ///< the flow's state is this socket's
  };
  struct SocketHash {
    std::size_t operator()(const SocketId& id) const noexcept {
      return std::hash<std::uint64_t>{}(std::uint64_t{id.generation} << 32 | id.index);
    }
  };
  struct Source {
    Side side;
    Stack* stack;
    bool alone;
    std::vector<TraceRecord> slots;
    TraceRing ring;
    std::uint64_t read = 0;
    std::unordered_map<SocketId, Names, SocketHash> sockets;
  };
  struct Key {
    Protocol protocol;
    Endpoint host, remote;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };

  void drain(Source& source);
  void take(Source& source, const TraceRecord& record);
  Names* names_of(Source& source, const TraceRecord& record);
  FlowRecord* flow_for(const Key& key, Instant now, bool fresh);
  void count_unrecorded(const Key& key) noexcept;
  void forget_sockets();
  std::string program_of_datagrams(Protocol protocol, const Endpoint& host) const;
  void apply(Names& names, const TraceRecord& record);
  void change_state(FlowRecord& flow, TcpState from, TcpState to);

  std::size_t flows_max_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::deque<FlowRecord> flows_;
  std::unordered_map<Key, FlowRecord*, KeyHash> last_;  ///< the last flow between two ends
  std::unordered_map<SocketId, std::string, SocketHash> programs_;
  Listener listener_;
  std::uint64_t overflow_ = 0;
  std::array<std::size_t, 4096> unrecorded_{};  ///< hashes of flows that were counted lately
  std::size_t sweep_at_ = kSweepLeast;          ///< sockets known when those gone are looked for
  std::uint64_t records_lost_ = 0;
};

}  // namespace tidewire::report

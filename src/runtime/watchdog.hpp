// Notices that nothing moves although something should, and says what.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.hpp"
#include "core/stack.hpp"
#include "runtime/driver.hpp"

namespace tidewire::runtime {

struct WatchdogOptions {
  Duration check_every = Duration::seconds(1);
  Duration patience = Duration::seconds(10);      ///< without progress before it speaks
  Duration repeat_after = Duration::seconds(60);  ///< about the same socket
};

/// Looks at every TCP socket once in a while. A socket that owes something (unacknowledged or
/// unsent bytes, a handshake, a close under way, unread bytes) and whose numbers have not changed
/// for `patience` is explained in one line to `report`. In the driver's thread.
class Watchdog final : public Task {
 public:
  using Report = std::function<void(const std::string& line)>;

  Watchdog(Driver& driver, const WatchdogOptions& options, Report report);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// `stack` outlives the watchdog; `name` appears in the lines.
  void watch(Stack& stack, std::string name) { watched_.push_back({&stack, std::move(name), {}}); }

  Instant next_deadline() override { return next_; }
  void run(Instant now) override;

  /// What one socket does and what it waits for, in one line.
  static std::string explain(const SocketInfo& info, Instant now);

 private:
  struct Seen {
    std::uint64_t progress = 0;  ///< changes whenever something moves
    Instant since;
    std::optional<Instant> reported;
    bool visited = false;
  };
  struct Watched {
    Stack* stack;
    std::string name;
    std::map<SocketId, Seen> seen;
  };

  void look(Watched& watched, Instant now);
  void speak(const Watched& watched, const SocketInfo& info, Instant since, Instant now);

  Driver& driver_;
  WatchdogOptions options_;
  Report report_;
  std::vector<Watched> watched_;
  Instant next_;
};

}  // namespace tidewire::runtime

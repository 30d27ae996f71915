// One TCP connection of nc: standard input and output on the other side of it.
#pragma once

#include <functional>
#include <string>

#include "apps/standard_io.hpp"
#include "core/stack.hpp"
#include "runtime/driver.hpp"

namespace tidewire::apps {

/// Copies both ways without a buffer of its own: from standard input into the stack's send ring,
/// from its receive ring to standard output. Ends when both directions have.
class NcStream final : public runtime::IoHandler, public runtime::Task {
 public:
  struct Totals {
    std::uint64_t sent = 0, received = 0;
  };

  NcStream(runtime::Driver& driver, Stack& stack, StandardStream& input, StandardStream& output,
           SocketId socket, Duration idle_limit);
  ~NcStream();
  NcStream(const NcStream&) = delete;
  NcStream& operator=(const NcStream&) = delete;

  void on_event(std::uint16_t bits, Instant now);
  void on_io(int fd, std::uint32_t ready, Instant now) override;
  Instant next_deadline() override;
  void run(Instant now) override;

  bool connected() const noexcept { return connected_; }
  bool finished() const noexcept { return finished_; }
  /// Why it ended early; none if both directions were closed in order.
  SocketError error() const noexcept { return error_; }
  bool idle_too_long() const noexcept { return idle_too_long_; }
  const Totals& totals() const noexcept { return totals_; }

 private:
  void pump(Instant now);
  bool pump_in(Instant now);
  bool pump_out(Instant now);
  void finish(SocketError error, Instant now);

  runtime::Driver& driver_;
  Stack& stack_;
  StandardStream& input_;
  StandardStream& output_;
  SocketId socket_;
  Duration idle_limit_;
  bool connected_ = false;
  bool input_done_ = false;
  bool output_done_ = false;
  bool more_input_ = false;  ///< stopped to let the loop run
  bool finished_ = false;
  bool idle_too_long_ = false;
  SocketError error_ = SocketError::none;
  Instant last_move_;
  Totals totals_;
};

}  // namespace tidewire::apps

// One connection of `tidewire perf`: pattern bytes out, pattern bytes in and checked.
#pragma once

#include <cstdint>
#include <string>

#include "apps/pattern.hpp"
#include "core/stack.hpp"

namespace tidewire::apps {

/// The protocol: a line from the client says what the server does.
///   echo          sends everything back
///   sink          checks pattern bytes until FIN, answers "ok BYTES\n" or "bad OFFSET\n"
///   source BYTES  sends pattern bytes, then FIN
///   both BYTES    sends and checks at once; FIN after its bytes
class PerfFlow {
 public:
  PerfFlow(Stack& stack, const Pattern& pattern, SocketId socket)
      : stack_(stack), pattern_(pattern), socket_(socket) {}

  /// What is to be done; text is sent before the pattern.
  void serve() { serving_ = true; }
  void send_text(std::string text) { text_out_ += text; }
  void send_pattern(std::uint64_t bytes, bool then_close);
  void expect_pattern(std::uint64_t bytes) { to_check_ = bytes; }
  void expect_text() { reading_text_ = true; }
  void set_verify(bool verify) { verify_ = verify; }

  void on_event(std::uint16_t bits, Instant now);
  void pump(Instant now);

  SocketId socket() const noexcept { return socket_; }
  /// FIN both ways, or an error.
  bool finished() const noexcept { return finished_; }
  SocketError error() const noexcept { return error_; }
  bool connected() const noexcept { return connected_; }
  const std::string& text() const noexcept { return text_in_; }
  void clear_text() { text_in_.clear(); }
  std::uint64_t received() const noexcept { return received_; }
  std::uint64_t sent() const noexcept { return sent_; }
  bool intact() const noexcept { return bad_at_ == kNone; }
  /// Closes in order, or aborts if something is left.
  void close(Instant now);

 private:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  void pump_out(Instant now);
  bool flush_text(Instant now);
  void pump_in(Instant now);
  void take(Bytes data);
  void command(const std::string& line);
  void peer_closed();
  void fail(SocketError error, Instant now);

  Stack& stack_;
  const Pattern& pattern_;
  SocketId socket_;
  bool serving_ = false, reading_text_ = false, echoing_ = false, sinking_ = false;
  bool verify_ = true;
  bool connected_ = false, finished_ = false;
  bool close_after_ = false, out_closed_ = false, in_closed_ = false;
  std::string text_out_, text_in_;
  std::uint64_t to_send_ = 0, sent_ = 0;
  std::uint64_t to_check_ = 0, received_ = 0;
  std::uint64_t bad_at_ = kNone;
  SocketError error_ = SocketError::none;
};

}  // namespace tidewire::apps

// Standard input and output without ever blocking the loop.
#pragma once

#include <cstddef>
#include <optional>

#include "base/bytes.hpp"
#include "runtime/fd.hpp"
#include "runtime/poller.hpp"

namespace tidewire::apps {

/// One of the process's standard descriptors. Pipes and terminals are opened a second time without
/// blocking, so that the mode of the description that is shared with other programs stays as it is.
/// Regular files are always ready.
class StandardStream {
 public:
  enum class Use : unsigned char { input, output };

  StandardStream(int fd, Use use);

  /// Bytes read into `room`; 0 at the end; nothing if it would block. Errors count as the end.
  std::optional<std::size_t> read(MutBytes room);
  /// Bytes taken; nothing if it would block; 0 if nobody reads any more.
  std::optional<std::size_t> write(Bytes data);

  /// Calls `handler` when it is ready again. A stream that is always ready needs no watch.
  void watch(runtime::Poller& poller, runtime::IoHandler& handler);
  void want(runtime::Poller& poller, bool wanted);
  void unwatch(runtime::Poller& poller);
  bool always_ready() const noexcept { return always_ready_; }
  int descriptor() const noexcept { return fd_; }

 private:
  int fd_;
  Use use_;
  runtime::Fd reopened_;
  bool always_ready_ = false;
  bool is_socket_ = false;
  bool blocking_ = false;  ///< could not be opened again: small writes after a poll
  runtime::WatchId watch_;
};

}  // namespace tidewire::apps

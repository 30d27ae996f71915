#include "apps/nc_stream.hpp"

#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr std::size_t kReadAtOnce = std::size_t{256} << 10;
constexpr std::size_t kReadPerTurn = std::size_t{4} << 20;

}  // namespace

NcStream::NcStream(runtime::Driver& driver, Stack& stack, StandardStream& input,
                   StandardStream& output, SocketId socket, Duration idle_limit)
    : driver_(driver),
      stack_(stack),
      input_(input),
      output_(output),
      socket_(socket),
      idle_limit_(idle_limit),
      last_move_(runtime::Clock::now()) {
  input_.watch(driver_.poller(), *this);
  output_.watch(driver_.poller(), *this);
  input_.want(driver_.poller(), false);
  output_.want(driver_.poller(), false);
  driver_.add_task(*this);
}

NcStream::~NcStream() {
  driver_.remove_task(*this);
  input_.unwatch(driver_.poller());
  output_.unwatch(driver_.poller());
  if (!finished_) stack_.abort(socket_, runtime::Clock::now());
}

void NcStream::on_event(std::uint16_t bits, Instant now) {
  if (finished_) return;
  if ((bits & kConnected) != 0 || ((bits & kReadable) != 0 && (bits & kError) == 0)) {
    connected_ = true;
  }
  if ((bits & kError) != 0) {
    (void)pump_out(now);  // what arrived before the error
    return finish(stack_.take_error(socket_), now);
  }
  pump(now);
}

void NcStream::on_io(int, std::uint32_t, Instant now) { pump(now); }

Instant NcStream::next_deadline() {
  if (finished_) return Instant::never();
  if (more_input_) return Instant::from_nanos(0);
  return idle_limit_ > Duration::zero() ? last_move_ + idle_limit_ : Instant::never();
}

void NcStream::run(Instant now) {
  if (more_input_) return pump(now);
  if (now - last_move_ < idle_limit_) return;
  idle_too_long_ = true;
  finish(SocketError::none, now);
}

void NcStream::pump(Instant now) {
  if (finished_ || !connected_) return;
  const bool in = pump_in(now);
  const bool out = pump_out(now);
  if (in || out) last_move_ = now;
  if (finished_) return;
  if (input_done_ && output_done_) finish(SocketError::none, now);
}

bool NcStream::pump_in(Instant now) {
  std::size_t moved = 0;
  more_input_ = false;
  while (!input_done_) {
    const MutBytes room = stack_.send_space(socket_, kReadAtOnce);
    input_.want(driver_.poller(), false);
    if (room.empty()) break;
    if (moved >= kReadPerTurn) {
      more_input_ = true;
      break;
    }
    const auto n = input_.read(room);
    if (!n) {
      input_.want(driver_.poller(), true);
      break;
    }
    if (*n == 0) {
      input_done_ = true;
      (void)stack_.shutdown(socket_, ShutdownHow::write, now);
      break;
    }
    if (const auto sent = stack_.sent(socket_, *n, {}, now); !sent) {
      finish(sent.error(), now);
      break;
    }
    moved += *n;
    totals_.sent += *n;
  }
  return moved != 0;
}

bool NcStream::pump_out(Instant now) {
  bool moved = false;
  while (!output_done_ && !finished_) {
    const ReceivedBytes bytes = stack_.received(socket_);
    output_.want(driver_.poller(), false);
    if (bytes.size() == 0) {
      output_done_ = bytes.end_of_stream;
      break;
    }
    const auto n = output_.write(bytes.first.empty() ? bytes.second : bytes.first);
    if (!n) {
      output_.want(driver_.poller(), true);
      break;
    }
    if (*n == 0) {
      finish(SocketError::broken_pipe, now);
      break;
    }
    (void)stack_.consumed(socket_, *n, now);
    totals_.received += *n;
    moved = true;
  }
  return moved;
}

void NcStream::finish(SocketError error, Instant now) {
  if (finished_) return;
  finished_ = true;
  error_ = error;
  if (error == SocketError::none) {
    stack_.close(socket_, now);
  } else {
    stack_.abort(socket_, now);
  }
}

}  // namespace tidewire::apps

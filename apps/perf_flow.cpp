#include "apps/perf_flow.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace tidewire::apps {

namespace {

constexpr std::size_t kChunk = std::size_t{256} << 10;

std::uint64_t number_after(const std::string& line, std::size_t at) {
  std::uint64_t value = 0;
  if (at < line.size()) std::from_chars(line.data() + at, line.data() + line.size(), value);
  return value;
}

}  // namespace

void PerfFlow::send_pattern(std::uint64_t bytes, bool then_close) {
  to_send_ = bytes;
  close_after_ = then_close;
}

void PerfFlow::on_event(std::uint16_t bits, Instant now) {
  if (finished_) return;
  if ((bits & kError) != 0) return fail(stack_.take_error(socket_), now);
  if ((bits & kConnected) != 0) connected_ = true;
  pump(now);
}

void PerfFlow::pump(Instant now) {
  if (finished_ || !connected_) return;
  pump_in(now);
  if (!finished_) pump_out(now);
  if (!finished_ && in_closed_ && out_closed_) close(now);
}

void PerfFlow::pump_in(Instant now) {
  while (!in_closed_ && !finished_) {
    const ReceivedBytes bytes = stack_.received(socket_);
    if (bytes.size() == 0) {
      if (bytes.end_of_stream) peer_closed();
      return;
    }
    std::size_t n = bytes.size();
    if (echoing_) {
      if (!flush_text(now)) return;
      const MutBytes room = stack_.send_space(socket_, bytes.first.size());
      if (room.empty()) return;
      n = std::min(room.size(), bytes.first.size());
      std::memcpy(room.data(), bytes.first.data(), n);
      (void)stack_.sent(socket_, n, {}, now);
      sent_ += n;
      received_ += n;
    } else {
      take(bytes.first);
      take(bytes.second);
    }
    if (auto done = stack_.consumed(socket_, n, now); !done) return fail(done.error(), now);
  }
}

void PerfFlow::take(Bytes data) {
  while (!data.empty()) {
    const bool line_wanted = serving_ && !echoing_ && !sinking_ && to_check_ == 0 && to_send_ == 0;
    if (line_wanted || reading_text_) {
      const char c = static_cast<char>(data.front());
      data = data.subspan(1);
      text_in_ += c;
      if (line_wanted && c == '\n') {
        const std::string line = text_in_;
        text_in_.clear();
        command(line);
      } else if (line_wanted && text_in_.size() > 64) {
        text_in_.clear();
      }
      continue;
    }
    if (echoing_) {  // what followed "echo\n" at once
      text_out_.append(reinterpret_cast<const char*>(data.data()), data.size());
      received_ += data.size();
      return;
    }
    if (verify_ && bad_at_ == kNone) {
      const std::size_t good = pattern_.matching(received_, data);
      if (good != data.size()) bad_at_ = received_ + good;
    }
    received_ += data.size();
    return;
  }
}

void PerfFlow::command(const std::string& line) {
  if (line.starts_with("echo")) {
    echoing_ = true;
  } else if (line.starts_with("sink")) {
    sinking_ = true;
  } else if (line.starts_with("source ")) {
    send_pattern(number_after(line, 7), true);
  } else if (line.starts_with("both ")) {
    const std::uint64_t n = number_after(line, 5);
    expect_pattern(n);
    send_pattern(n, true);
  }
}

void PerfFlow::peer_closed() {
  in_closed_ = true;
  if (to_check_ != 0 && received_ != to_check_ && bad_at_ == kNone) bad_at_ = received_;
  if (sinking_) {
    text_out_ += bad_at_ == kNone ? "ok " + std::to_string(received_) + "\n"
                                  : "bad " + std::to_string(bad_at_) + "\n";
  }
  if (serving_) close_after_ = true;
}

/// True if nothing is left.
bool PerfFlow::flush_text(Instant now) {
  while (!text_out_.empty()) {
    const auto n = stack_.send(socket_, as_bytes(text_out_.data(), text_out_.size()), {}, now);
    if (!n) {
      if (n.error() != SocketError::would_block) fail(n.error(), now);
      return false;
    }
    text_out_.erase(0, *n);
  }
  return true;
}

void PerfFlow::pump_out(Instant now) {
  if (!flush_text(now)) return;
  while (sent_ < to_send_ && !echoing_) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, to_send_ - sent_));
    const MutBytes space = stack_.send_space(socket_, wanted);
    if (space.empty()) return;
    const MutBytes room = space.first(std::min(space.size(), wanted));
    pattern_.fill(sent_, room);
    if (auto done = stack_.sent(socket_, room.size(), {}, now); !done)
      return fail(done.error(), now);
    sent_ += room.size();
  }
  if (close_after_ && !out_closed_) {
    out_closed_ = true;
    (void)stack_.shutdown(socket_, ShutdownHow::write, now);
  }
}

void PerfFlow::close(Instant now) {
  if (finished_) return;
  finished_ = true;
  stack_.close(socket_, now);
}

void PerfFlow::fail(SocketError error, Instant now) {
  finished_ = true;
  error_ = error;
  stack_.abort(socket_, now);
}

}  // namespace tidewire::apps

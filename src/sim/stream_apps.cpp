#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "sim/apps.hpp"

namespace tidewire::sim {
namespace {

std::uint64_t mix(std::uint64_t z) noexcept {
  z += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

// One hash for a block of words, which follow from it by what is cheap: making and checking the
// bytes must not be what a simulated transfer costs.
constexpr std::uint64_t kWordsPerBlock = 32;
constexpr std::uint64_t kStep = 0xd6e8feb86659fd93U;

std::uint64_t block_of(std::uint64_t seed, std::uint64_t word) noexcept {
  return mix(seed * 0x100000001b3U + word / kWordsPerBlock);
}
std::uint64_t word_of(std::uint64_t block, std::uint64_t word) noexcept {
  const std::uint64_t v = block + word % kWordsPerBlock * kStep;
  return v ^ v >> 32;
}

void store_little(std::byte* target, std::uint64_t word) noexcept {
  if constexpr (std::endian::native == std::endian::big) word = std::byteswap(word);
  std::memcpy(target, &word, sizeof word);
}

// As many words as one register of any x86-64 or AArch64 holds.
using Two [[gnu::vector_size(16)]] = std::uint64_t;

void store_little(std::byte* target, Two words) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(target, &words, sizeof words);
  } else {
    for (std::size_t k = 0; k < 2; ++k) store_little(target + 8 * k, words[k]);
  }
}

/// The `count` words of one block from `word` on.
void store_words(std::byte* target, std::uint64_t block, std::uint64_t word,
                 std::uint64_t count) noexcept {
  std::uint64_t k = 0;
  const std::uint64_t first = block + word % kWordsPerBlock * kStep;
  Two v = {first, first + kStep};
  const Two step = {2 * kStep, 2 * kStep};
  for (; count - k >= 2; k += 2, v += step) store_little(target + 8 * k, v ^ v >> 32);
  for (; k < count; ++k) store_little(target + 8 * k, word_of(block, word + k));
}

}  // namespace

std::byte Pattern::at(std::uint64_t offset) const noexcept {
  const std::uint64_t word = offset / 8;
  return static_cast<std::byte>(word_of(block_of(seed_, word), word) >> (offset % 8 * 8) & 0xff);
}

void Pattern::fill(std::uint64_t offset, MutBytes out) const noexcept {
  std::size_t i = 0;
  for (; i < out.size() && offset % 8 != 0; ++i) out[i] = at(offset++);
  while (out.size() - i >= 8) {
    const std::uint64_t word = offset / 8;
    const std::uint64_t count =
        std::min<std::uint64_t>(kWordsPerBlock - word % kWordsPerBlock, (out.size() - i) / 8);
    store_words(out.data() + i, block_of(seed_, word), word, count);
    i += 8 * count;
    offset += 8 * count;
  }
  for (; i < out.size(); ++i) out[i] = at(offset++);
}

bool Pattern::matches(std::uint64_t offset, Bytes bytes) const noexcept {
  std::array<std::byte, 4096> expected;
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), expected.size());
    fill(offset, MutBytes{expected}.first(n));
    if (!std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n),
                    expected.begin())) {
      return false;
    }
    bytes = bytes.subspan(n);
    offset += n;
  }
  return true;
}

void set_options(Host& host, SocketId socket, const StreamPlan& plan) {
  const auto set = [&](SocketOption option, std::int64_t value) {
    (void)host.stack().set_option(socket, option, value, host.now());
  };
  if (plan.receive_buffer != 0) set(SocketOption::receive_buffer, plan.receive_buffer);
  if (plan.send_buffer != 0) set(SocketOption::send_buffer, plan.send_buffer);
  if (!plan.keep_alive) return;
  set(SocketOption::keep_idle, Duration::seconds(60).count_nanos());
  set(SocketOption::keep_interval, Duration::seconds(10).count_nanos());
  set(SocketOption::keep_count, 10);
  set(SocketOption::keep_alive, 1);
}

void StreamPeer::connect(const Endpoint& remote, const std::optional<Endpoint>& local) {
  Stack& stack = host_.stack();
  const Instant now = host_.now();
  const SocketResult<SocketId> id = stack.open(SocketKind::tcp, remote.address.family());
  if (!id) return finish(id.error(), now);
  socket_ = *id;
  host_.watch(socket_, *this);
  set_options(host_, socket_, plan_);
  if (local) {
    if (const auto bound = stack.bind(socket_, *local, now); !bound) {
      return finish(bound.error(), now);
    }
  }
  const SocketResult<void> started = stack.connect(socket_, remote, now);
  if (!started && started.error() != SocketError::in_progress) finish(started.error(), now);
}

void StreamPeer::adopt(SocketId socket) {
  socket_ = socket;
  connected_ = true;
  host_.watch(socket_, *this);
  pump(host_.now());
}

void StreamPeer::on_event(const Event& event, Instant now) {
  if (done_) return;
  if ((event.bits & kError) != 0) {
    const SocketError error = host_.stack().take_error(socket_);
    if (error != SocketError::none) {
      const bool ended = saw_end_;
      read(now);  // what came before the error still counts, but what looks like the end is none
      saw_end_ = ended;
      return finish(error, now);
    }
  }
  if ((event.bits & kConnected) != 0) connected_ = true;
  pump(now);
}

void StreamPeer::run(Instant now) {
  next_read_ = Instant::never();
  pump(now);
}

void StreamPeer::pump(Instant now) {
  if (done_) return;
  read(now);
  if (!done_ && connected_) write(now);
  if (!done_ && shut_ && saw_end_) finish(SocketError::none, now);
}

void StreamPeer::write(Instant now) {
  if (shut_ || (plan_.answer_first && !saw_end_)) return;
  while (sent_ < plan_.send_total) {
    if (!write_piece(now)) return;
  }
  shut_ = true;
  const SocketResult<void> result = host_.stack().shutdown(socket_, ShutdownHow::write, now);
  if (!result) finish(result.error(), now);
}

/// False: no room now, or the connection is finished.
bool StreamPeer::write_piece(Instant now) {
  Stack& stack = host_.stack();
  const Pattern pattern{plan_.send_seed};
  const std::size_t wanted =
      static_cast<std::size_t>(std::min<std::uint64_t>(plan_.send_total - sent_, 16384));
  if (plan_.in_place) {
    const MutBytes room = stack.send_space(socket_, wanted);
    if (!room.empty()) {
      const MutBytes piece = room.first(std::min(room.size(), wanted));
      pattern.fill(sent_, piece);
      const SocketResult<void> result = stack.sent(socket_, piece.size(), {}, now);
      if (!result) {
        finish(result.error(), now);
        return false;
      }
      sent_ += piece.size();
      return true;
    }
    // Whether there is no room or no connection only send() tells.
  }
  std::array<std::byte, 16384> buffer;
  pattern.fill(sent_, MutBytes{buffer}.first(wanted));
  const SocketResult<std::size_t> result =
      stack.send(socket_, Bytes{buffer}.first(wanted), {}, now);
  if (!result) {
    if (result.error() != SocketError::would_block) finish(result.error(), now);
    return false;
  }
  sent_ += *result;
  return *result > 0;
}

void StreamPeer::read(Instant now) {
  if (next_read_ > now && !next_read_.is_never()) return;
  while (!done_ && !saw_end_) {
    const std::optional<std::size_t> got = read_piece(now);
    if (!got) return;
    if (*got == 0) {
      saw_end_ = true;
      return;
    }
    received_ += *got;
    if (plan_.read_pause > Duration::zero()) {
      next_read_ = now + plan_.read_pause;
      return;
    }
  }
}

/// Bytes read, 0 at the end of the stream, nothing if nothing is there.
std::optional<std::size_t> StreamPeer::read_piece(Instant now) {
  Stack& stack = host_.stack();
  const Pattern pattern{plan_.expect_seed};
  if (plan_.in_place) {
    const ReceivedBytes waiting = stack.received(socket_);
    const Bytes piece = waiting.first.first(std::min(waiting.first.size(), plan_.read_chunk));
    if (!piece.empty()) {
      intact_ = intact_ && pattern.matches(received_, piece);
      const std::size_t size = piece.size();
      (void)stack.consumed(socket_, size, now);
      return size;
    }
  }
  std::array<std::byte, 65536> buffer;
  const MutBytes out = MutBytes{buffer}.first(std::min(buffer.size(), plan_.read_chunk));
  const SocketResult<std::size_t> got = stack.receive(socket_, out, {}, now);
  if (!got) {
    if (got.error() != SocketError::would_block && connected_) finish(got.error(), now);
    return std::nullopt;
  }
  intact_ = intact_ && pattern.matches(received_, Bytes{out}.first(*got));
  return *got;
}

void StreamPeer::finish(SocketError error, Instant now) {
  if (done_) return;
  done_ = true;
  error_ = error;
  finished_at_ = now;
  next_read_ = Instant::never();
  if (!socket_) return;
  host_.unwatch(socket_);
  if (error == SocketError::none) {
    host_.stack().close(socket_, now);
  } else {
    host_.stack().abort(socket_, now);  // an orderly close would claim that all was sent
  }
}

std::string StreamPeer::waiting_for() const {
  if (done_) return {};
  return "a stream has sent " + std::to_string(sent_) + " of " + std::to_string(plan_.send_total) +
         " bytes and received " + std::to_string(received_) + (saw_end_ ? " and the end" : "") +
         (connected_ ? "" : ", not connected");
}

StreamServer::StreamServer(Host& host, const Endpoint& local, const StreamPlan& plan,
                           std::uint32_t backlog)
    : host_(host), plan_(plan) {
  Stack& stack = host.stack();
  const Instant now = host.now();
  const SocketResult<SocketId> id = stack.open(SocketKind::tcp, local.address.family());
  if (!id) {
    error_ = id.error();
    return;
  }
  listener_ = *id;
  host.watch(listener_, *this);
  set_options(host, listener_, plan);
  SocketResult<void> result = stack.bind(listener_, local, now);
  if (result) result = stack.listen(listener_, backlog, now);
  if (!result) error_ = result.error();
}

void StreamServer::on_event(const Event&, Instant now) {
  while (true) {
    const SocketResult<SocketId> id = host_.stack().accept(listener_, now);
    if (!id) return;
    StreamPeer& peer = host_.add<StreamPeer>(plan_);
    accepted_.push_back(&peer);
    peer.adopt(*id);
  }
}

EchoServer::EchoServer(Host& host, const Endpoint& local, std::uint32_t backlog)
    : host_(host), buffer_(65536) {
  Stack& stack = host.stack();
  const SocketResult<SocketId> id = stack.open(SocketKind::tcp, local.address.family());
  if (!id) return;
  listener_ = *id;
  host.watch(listener_, *this);
  (void)stack.bind(listener_, local, host.now());
  (void)stack.listen(listener_, backlog, host.now());
}

void EchoServer::on_event(const Event& event, Instant now) {
  if (event.socket != listener_) return serve(event.socket, now);
  while (true) {
    const SocketResult<SocketId> id = host_.stack().accept(listener_, now);
    if (!id) return;
    ++accepted_;
    host_.watch(*id, *this);
    serve(*id, now);
  }
}

void EchoServer::serve(SocketId socket, Instant now) {
  Stack& stack = host_.stack();
  const auto end = [&] {
    host_.unwatch(socket);
    stack.close(socket, now);
  };
  while (true) {
    // Peek, so that only what could be sent back is taken.
    const SocketResult<std::size_t> got = stack.receive(socket, buffer_, {.peek = true}, now);
    if (!got) {
      if (got.error() != SocketError::would_block) end();
      return;
    }
    if (*got == 0) return end();
    const SocketResult<std::size_t> sent = stack.send(socket, Bytes{buffer_}.first(*got), {}, now);
    if (!sent) {
      if (sent.error() != SocketError::would_block) end();
      return;
    }
    (void)stack.consumed(socket, *sent, now);
  }
}

}  // namespace tidewire::sim

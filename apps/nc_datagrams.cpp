#include "apps/nc_datagrams.hpp"

#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr std::size_t kInputChunk = 16'384;  ///< as other nc: what one read gives is one datagram
constexpr std::size_t kLargest = 65'535;

}  // namespace

NcDatagrams::NcDatagrams(runtime::Driver& driver, Stack& stack, StandardStream& input,
                         StandardStream& output, SocketId socket, std::optional<Endpoint> peer,
                         bool any_peer, Duration idle_limit)
    : driver_(driver),
      stack_(stack),
      input_(input),
      output_(output),
      socket_(socket),
      peer_(peer),
      any_peer_(any_peer),
      idle_limit_(idle_limit),
      in_(kInputChunk),
      out_(kLargest),
      last_move_(runtime::Clock::now()) {
  input_.watch(driver_.poller(), *this);
  output_.watch(driver_.poller(), *this);
  input_.want(driver_.poller(), peer_.has_value());
  output_.want(driver_.poller(), false);
  driver_.add_task(*this);
}

NcDatagrams::~NcDatagrams() {
  driver_.remove_task(*this);
  input_.unwatch(driver_.poller());
  output_.unwatch(driver_.poller());
  stack_.close(socket_, runtime::Clock::now());
}

void NcDatagrams::on_event(std::uint16_t, Instant now) {
  write_output(now);
  send_input(now);
}

void NcDatagrams::on_io(int, std::uint32_t, Instant now) {
  send_input(now);
  write_output(now);
}

Instant NcDatagrams::next_deadline() {
  if (finished_) return Instant::never();
  if (input_.always_ready() && peer_ && !input_done_ && in_size_ == 0)
    return Instant::from_nanos(0);
  return idle_limit_ > Duration::zero() ? last_move_ + idle_limit_ : Instant::never();
}

void NcDatagrams::run(Instant now) {
  if (input_.always_ready()) send_input(now);
  if (idle_limit_ > Duration::zero() && now - last_move_ >= idle_limit_) finished_ = true;
}

void NcDatagrams::set_peer(const Endpoint& peer) {
  if (peer_ && !any_peer_) return;
  peer_ = peer;
  if (!input_done_ && in_size_ == 0) input_.want(driver_.poller(), true);
}

void NcDatagrams::send_input(Instant now) {
  while (!finished_ && peer_ && (in_size_ != 0 || !input_done_)) {
    if (in_size_ == 0) {
      const auto n = input_.read(in_);
      if (!n) return;
      in_size_ = *n;
      input_done_ = *n == 0;
      if (input_done_) input_.want(driver_.poller(), false);
      if (input_done_) return;
    }
    const Bytes data = Bytes(in_).first(in_size_);
    DatagramTarget target;
    target.destination = peer_;
    const auto sent = stack_.send_datagram(socket_, std::span(&data, 1), target, now);
    if (!sent && sent.error() == SocketError::would_block) {
      input_.want(driver_.poller(), false);  // kWritable follows
      return;
    }
    in_size_ = 0;
    input_.want(driver_.poller(), true);
    last_move_ = now;
    if (!sent && sent.error() != SocketError::connection_refused) {
      error_ = sent.error();
      finished_ = true;
    }
  }
}

void NcDatagrams::write_output(Instant now) {
  while (!finished_) {
    if (out_rest_.empty()) {
      const auto got = stack_.receive_datagram(socket_, out_, false, now);
      if (!got) {
        if (got.error() != SocketError::would_block) error_ = got.error();
        finished_ = got.error() != SocketError::would_block;
        return;
      }
      set_peer(got->source);
      out_rest_ = Bytes(out_).first(got->copied);
      last_move_ = now;
      if (out_rest_.empty()) continue;
    }
    const auto n = output_.write(out_rest_);
    output_.want(driver_.poller(), !n);
    if (!n) return;
    if (*n == 0) {
      finished_ = true;
      return;
    }
    out_rest_ = out_rest_.subspan(*n);
  }
}

}  // namespace tidewire::apps

#include "front/gateway/tcp_relay.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "front/gateway/address_map.hpp"
#include "runtime/sockaddr.hpp"
#include "runtime/urgent.hpp"

namespace tidewire::gateway {

namespace {

// The kernel acknowledges once a read: less of it to do, there and here, where much comes in.
constexpr std::size_t kReadAtOnce = std::size_t{512} << 10;
// Of a stack's memory, for one read.
constexpr std::size_t kPlaces = 12;
// Where a read brings as much, the next one may bring more than goes into one place.
constexpr ssize_t kBulk = 48 << 10;
// Little enough that the bytes are still in the processor's cache when they are passed on.
constexpr std::size_t kReadInATurn = std::size_t{512} << 10;
// Reads in a row after which there was nothing more, until nobody looks any more.
constexpr std::uint8_t kAlone = 8;

void set_option(int fd, int level, int name, int value) noexcept {
  (void)setsockopt(fd, level, name, &value, sizeof value);
}

int pending_error(int fd) noexcept {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

iovec to_iovec(Bytes bytes) noexcept {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

/// As sendmsg(). The plain call costs less where there is one region.
ssize_t send_bytes(int fd, const ReceivedBytes& bytes) noexcept {
  // The end of the stream, which follows at once, leaves with the last bytes.
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (bytes.end_of_stream ? MSG_MORE : 0);
  if (bytes.second.empty()) return send(fd, bytes.first.data(), bytes.first.size(), flags);
  std::array<iovec, 2> parts{to_iovec(bytes.first), to_iovec(bytes.second)};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  return sendmsg(fd, &message, flags);
}

/// As readv(), without waiting.
ssize_t receive_bytes(int fd, std::span<const MutBytes> room) noexcept {
  if (room.size() == 1) return recv(fd, room[0].data(), room[0].size(), MSG_DONTWAIT);
  std::array<iovec, kPlaces> parts;
  std::ranges::transform(room, parts.begin(),
                         [](MutBytes part) noexcept { return iovec{part.data(), part.size()}; });
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = room.size();
  return recvmsg(fd, &message, MSG_DONTWAIT);
}

std::size_t size_of(std::span<const MutBytes> room) noexcept {
  std::size_t size = 0;
  for (const MutBytes part : room) size += part.size();
  return size;
}

bool would_block(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

// --- one relay ---

TcpRelay::TcpRelay(TcpRelays& relays, Context& context) : relays_(relays), context_(context) {}

TcpRelay::~TcpRelay() { over(); }

void TcpRelay::start_outward(const Event& flow, const Endpoint& target, Instant now) {
  flow_ = flow.flow;
  outward_ = true;
  take_after_others();
  const int family = target.address.is_v4() ? AF_INET : AF_INET6;
  host_.reset(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!host_) return reject(errno, now);
  set_option(host_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(host_.get(), SOL_SOCKET, SO_OOBINLINE, 1);
  touch(now);
  const runtime::SocketAddress address = runtime::to_socket_address(target);
  if (connect(host_.get(), address.get(), address.length) == 0) return host_connected(now);
  if (errno != EINPROGRESS) return reject(errno, now);
  auto watch = context_.poller.add(host_.get(), runtime::kIoWrite, *this);
  if (!watch) return reject(watch.error(), now);
  watch_ = *watch;
}

void TcpRelay::start_inward(runtime::Fd host, const Endpoint& source, const Endpoint& target,
                            Instant now) {
  host_ = std::move(host);
  state_ = State::connecting_stack;
  take_after_others();
  touch(now);
  const auto socket = context_.stack.open(SocketKind::tcp, Family::v4);
  if (!socket) return abort(now);
  use_socket(*socket);
  const auto bound = context_.stack.bind(*socket, {source.address, 0, 0}, now);
  if (!bound) return abort(now);
  const auto connected = context_.stack.connect(*socket, target, now);
  if (!connected && connected.error() != SocketError::in_progress) return abort(now);
  auto watch = context_.poller.add(host_.get(), runtime::kIoNone, *this);
  if (!watch) return abort(now);
  watch_ = *watch;
  ++context_.counters.published_opened;
}

void TcpRelay::host_connected(Instant now) {
  const auto socket = context_.stack.forward_accept(flow_, now);
  if (!socket) {  // the peer has given up in the meantime, or no memory: it will ask again
    reset_host();
    over();
    return;
  }
  use_socket(*socket);
  (void)context_.stack.set_option(*socket, SocketOption::no_delay, 1, now);
  state_ = State::connecting_stack;
  ++context_.counters.tcp_opened;
  if (!watch_) {
    auto watch = context_.poller.add(host_.get(), runtime::kIoNone, *this);
    if (!watch) return abort(now);
    watch_ = *watch;
  } else {
    context_.poller.set(watch_, runtime::kIoNone);
  }
}

void TcpRelay::reject(int error, Instant now) {
  ++context_.counters.tcp_refused;
  context_.stack.forward_reject(flow_, reject_for(error), now);
  over();
}

void TcpRelay::use_socket(SocketId socket) {
  socket_ = socket;
  context_.users[socket] = this;
}

void TcpRelay::on_io(int, std::uint32_t ready, Instant now) {
  if (state_ == State::connecting_host) {
    const int error = pending_error(host_.get());
    if (error != 0) return reject(error, now);
    return host_connected(now);
  }
  if (state_ != State::open) return;
  if ((ready & (runtime::kIoError | runtime::kIoHangUp)) != 0) {
    // Data may be left to read before the error; only a side that is not being read learns it here.
    if (stack_full_ || host_finished_) {
      if (pending_error(host_.get()) != 0) return abort(now);
      host_gone_ = true;
    }
  }
  if ((ready & runtime::kIoWrite) != 0) host_full_ = false;
  if ((ready & runtime::kIoPriority) != 0) host_urgent_ = true;
  host_told_ = (ready & runtime::kIoRead) != 0;
  if ((ready & ~std::uint32_t{runtime::kIoWrite}) != 0) host_readable_ = true;
  pump(now);
}

void TcpRelay::on_socket(SocketId, std::uint16_t bits, Instant now) {
  if (state_ == State::over) return;
  if ((bits & kError) != 0) {
    if (state_ == State::connecting_stack) ++context_.counters.tcp_failed;
    return abort(now);
  }
  if (state_ == State::connecting_stack) {
    if ((bits & (kConnected | kReadable | kPeerClosed)) == 0) return;
    state_ = State::open;
    touch(now);
  }
  if ((bits & kWritable) != 0) stack_full_ = false;
  pump(now);
}

void TcpRelay::pump(Instant now) {
  if (state_ != State::open) return;
  const Step outward = pump_to_host(now);
  const Step inward = outward == Step::broken ? Step::broken : pump_to_stack(now);
  if (outward == Step::broken || inward == Step::broken) return abort(now);
  if (host_finished_ && peer_finished_) return finish(now);
  if (outward == Step::go_on || inward == Step::go_on) touch(now);
  watch();
}

TcpRelay::Step TcpRelay::pump_to_host(Instant now) {
  Step step = Step::stop;
  while (!host_full_ && !peer_finished_) {
    const ReceivedBytes bytes = context_.stack.received(socket_);
    if (urgent_ || bytes.after_urgent) {
      if (!urgent_ && !take_urgent(now)) return Step::broken;
      if (send(host_.get(), &*urgent_, 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EINTR) continue;
        if (!would_block(errno)) return Step::broken;
        host_full_ = true;
        break;
      }
      urgent_.reset();
      ++context_.counters.bytes_to_host;
      step = Step::go_on;
      continue;
    }
    if (bytes.size() == 0) {
      if (!bytes.end_of_stream) break;
      peer_finished_ = true;
      (void)::shutdown(host_.get(), SHUT_WR);
      return Step::go_on;
    }
    const ssize_t n = send_bytes(host_.get(), bytes);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (!would_block(errno)) return Step::broken;
      host_full_ = true;
      break;
    }
    context_.counters.bytes_to_host += static_cast<std::uint64_t>(n);
    if (!context_.stack.consumed(socket_, static_cast<std::size_t>(n), now)) return Step::broken;
    step = Step::go_on;
  }
  return step;
}

/// The urgent octet at which the stream from the virtual network stands.
bool TcpRelay::take_urgent(Instant now) {
  std::byte octet{};
  Stack& stack = context_.stack;
  if (stack.receive(socket_, {&octet, 1}, {.urgent = true}, now).value_or(0) != 1) return false;
  urgent_ = octet;
  return stack.consumed(socket_, 0, now).has_value();  // moves on behind the mark
}

TcpRelay::Step TcpRelay::pump_to_stack(Instant now) {
  Step step = Step::stop;
  bool told = std::exchange(host_told_, false);
  bool in_part = false;  // the last read left room
  std::size_t carried = 0;
  // The poller tells again of what is left.
  while (host_readable_ && !host_finished_ && carried < kReadInATurn) {
    std::array<MutBytes, kPlaces> places;
    std::span room{places.data(), context_.stack.send_spaces(
                                      socket_, {places.data(), bulk_ ? kPlaces : 1}, kReadAtOnce)};
    stack_full_ = room.empty();
    if (stack_full_) break;
    const bool several = room.size() > 1;
    // The kernel ends a read before a mark that lies ahead, and the poller tells of one at the
    // head of what it finds. Else only of an octet that is there the answer is final.
    ssize_t n = 1;
    bool urgent = false;
    if (host_urgent_ || !std::exchange(told, false)) {
      std::byte head{};
      n = recv(host_.get(), &head, 1, MSG_PEEK | MSG_DONTWAIT);
      urgent = n == 1 && runtime::at_urgent_mark(host_.get());
    }
    if (urgent) {
      room = room.first(1);
      places[0] = places[0].first(1);
    }
    const std::size_t most = size_of(room);
    if (n > 0) n = receive_bytes(host_.get(), room);
    const int error = n < 0 ? errno : 0;
    if (n <= 0 && several) (void)context_.stack.sent(socket_, 0, {}, now);
    if (n < 0) {
      if (error == EINTR) continue;
      if (!would_block(error)) return Step::broken;
      host_readable_ = false;
      if (in_part) note_alone(true);
      break;
    }
    if (n == 0) {
      if (in_part) note_alone(false);
      host_finished_ = true;
      (void)context_.stack.shutdown(socket_, ShutdownHow::write, now);
      return Step::go_on;
    }
    context_.counters.bytes_from_host += static_cast<std::uint64_t>(n);
    carried += static_cast<std::size_t>(n);
    if (urgent) host_urgent_ = false;
    const auto sent =
        context_.stack.sent(socket_, static_cast<std::size_t>(n), {.urgent = urgent}, now);
    if (!sent) return Step::broken;
    step = Step::go_on;
    if (in_part) note_alone(false);
    // What fills the room in part is all there was, but for an end that comes with it: a short
    // answer and its FIN leave together. The poller tells of whatever comes later.
    in_part = static_cast<std::size_t>(n) < most;
    bulk_ = n >= kBulk;
    const bool look = host_alone_ < kAlone && !std::exchange(first_alone_, false);
    host_readable_ = !in_part || look;
  }
  return step;
}

std::uint8_t& TcpRelay::relays_alone() noexcept {
  return outward_ ? relays_.outward_alone_ : relays_.inward_alone_;
}

// A relay begins with what those before it have learned.
void TcpRelay::take_after_others() noexcept {
  std::uint8_t& alone = relays_alone();
  first_alone_ = alone > 0;
  if (alone > 0) --alone;
}

void TcpRelay::note_alone(bool alone) noexcept {
  if (!alone) {
    host_alone_ = 0;
  } else if (host_alone_ < kAlone) {
    ++host_alone_;
  }
  relays_alone() = alone ? kAlone : std::uint8_t{0};
}

void TcpRelay::watch() {
  std::uint32_t interest = runtime::kIoNone;
  if (!host_finished_ && !stack_full_) {
    interest |= runtime::kIoRead;
    // It is told for as long as the octet has not come.
    if (!host_urgent_) interest |= runtime::kIoPriority;
  }
  if (host_full_) interest |= runtime::kIoWrite;
  // Also a side that is not read at the moment tells of a reset.
  if (interest == runtime::kIoNone && !host_gone_) interest = runtime::kIoErrorsOnly;
  context_.poller.set(watch_, interest);
}

bool TcpRelay::owes() const {
  if (state_ != State::open) return false;
  if (urgent_) return true;
  if (peer_finished_) return !host_finished_;
  const ReceivedBytes bytes = context_.stack.received(socket_);
  return bytes.size() != 0 || bytes.end_of_stream || bytes.after_urgent;
}

void TcpRelay::finish(Instant now) {
  context_.users.erase(socket_);
  context_.stack.close(socket_, now);
  socket_ = {};
  over();
}

void TcpRelay::abort(Instant now) {
  if (state_ == State::over) return;
  if (state_ == State::connecting_host)
    context_.stack.forward_reject(flow_, ForwardReject::reset, now);
  if (socket_) {
    context_.users.erase(socket_);
    context_.stack.abort(socket_, now);
    socket_ = {};
  }
  reset_host();
  over();
}

void TcpRelay::reset_host() noexcept {
  if (!host_) return;
  const linger hard{.l_onoff = 1, .l_linger = 0};
  (void)setsockopt(host_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

void TcpRelay::over() noexcept {
  if (state_ == State::over) return;
  state_ = State::over;
  idle_.unlink();
  context_.poller.remove_closing(watch_);
  host_.reset();
  relays_.over_.splice(relays_.over_.end(), relays_.relays_, self_);
}

void TcpRelay::touch(Instant now) {
  const bool steady = state_ == State::open && !host_finished_ && !peer_finished_;
  (steady ? relays_.established_ : relays_.transitory_).touch(idle_, *this, now);
}

// --- all of them ---

TcpRelays::TcpRelays(Context& context)
    : context_(context),
      established_(context.config.tcp_established),
      transitory_(context.config.tcp_transitory) {}

TcpRelays::~TcpRelays() {
  while (!relays_.empty()) {
    TcpRelay& relay = relays_.front();
    relay.reset_host();
    context_.users.erase(relay.socket_);
    relay.over();
  }
}

TcpRelay& TcpRelays::add() {
  relays_.emplace_back(*this, context_);
  relays_.back().self_ = std::prev(relays_.end());
  return relays_.back();
}

void TcpRelays::on_forward(const Event& flow, Instant now) {
  const auto target = map_destination(context_.config, Protocol::tcp, flow.tuple.local);
  if (!target) {
    ++context_.counters.forbidden;
    context_.stack.forward_reject(flow.flow, target.error(), now);
    return;
  }
  if (relays_.size() >= context_.config.tcp_max) {
    ++context_.counters.tcp_over_limit;
    context_.stack.forward_reject(flow.flow, ForwardReject::reset, now);
    return;
  }
  add().start_outward(flow, *target, now);
}

void TcpRelays::accept_inward(runtime::Fd host, const Endpoint& source, const Endpoint& target,
                              Instant now) {
  if (relays_.size() >= context_.config.tcp_max) {
    ++context_.counters.tcp_over_limit;
    return;
  }
  add().start_inward(std::move(host), source, target, now);
}

Instant TcpRelays::next_deadline() const noexcept {
  return earlier(established_.next_deadline(), transitory_.next_deadline());
}

std::size_t TcpRelays::owing() const {
  return static_cast<std::size_t>(std::ranges::count_if(relays_, &TcpRelay::owes));
}

void TcpRelays::expire(Instant now) {
  for (IdleList<TcpRelay>* list : {&established_, &transitory_}) {
    while (TcpRelay* relay = list->expired(now)) {
      ++context_.counters.tcp_timed_out;
      relay->abort(now);
    }
  }
}

}  // namespace tidewire::gateway

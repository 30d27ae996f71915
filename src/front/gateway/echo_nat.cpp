#include "front/gateway/echo_nat.hpp"

#include <netinet/in.h>

#include <cerrno>

#include "front/gateway/address_map.hpp"
#include "runtime/sockaddr.hpp"

namespace tidewire::gateway {

EchoNat::EchoNat(Context& context)
    : context_(context), buffer_(65'536), idle_(context.config.echo_idle) {}

EchoNat::~EchoNat() {
  for (Flow& flow : flows_) context_.users.erase(flow.socket);
}

EchoNat::Flow::~Flow() { nat.context_.poller.remove(watch); }

void EchoNat::on_forward(const Event& event, Instant now) {
  auto target = map_destination(context_.config, Protocol::icmp, event.tuple.local);
  if (!target || !target->address.is_v4()) {
    ++context_.counters.forbidden;
    context_.stack.forward_reject(event.flow, ForwardReject::prohibited, now);
    return;
  }
  if (flows_.size() >= context_.config.echo_max) {
    context_.stack.forward_drop(event.flow);
    return;
  }
  target->port = 0;
  runtime::Fd host(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP));
  const runtime::SocketAddress address = runtime::to_socket_address(*target);
  if (!host || connect(host.get(), address.get(), address.length) != 0) {
    ++context_.counters.echo_refused;
    const int error = errno;
    context_.stack.forward_reject(event.flow, host ? reject_for(error) : ForwardReject::prohibited,
                                  now);
    return;
  }
  const auto socket = context_.stack.forward_accept(event.flow, now);
  if (!socket) return;
  Flow& flow = flows_.emplace_back(*this);
  flow.self = std::prev(flows_.end());
  flow.socket = *socket;
  flow.host = std::move(host);
  context_.users[*socket] = &flow;
  ++context_.counters.echo_opened;
  auto watch = context_.poller.add(flow.host.get(), runtime::kIoRead, flow);
  if (!watch) return end(flow, now);
  flow.watch = *watch;
  idle_.touch(flow.idle, flow, now);
  send_to_host(flow, now);
}

void EchoNat::Flow::on_socket(SocketId, std::uint16_t bits, Instant now) {
  if (!over && (bits & kReadable) != 0) nat.send_to_host(*this, now);
}

void EchoNat::Flow::on_io(int, std::uint32_t, Instant now) {
  if (!over) nat.receive_from_host(*this, now);
}

void EchoNat::send_to_host(Flow& flow, Instant now) {
  for (;;) {
    const auto request = context_.stack.receive_datagram(flow.socket, buffer_, false, now);
    if (!request) {
      if (request.error() == SocketError::would_block) return;
      return end(flow, now);
    }
    idle_.touch(flow.idle, flow, now);
    (void)send(flow.host.get(), buffer_.data(), request->copied, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

void EchoNat::receive_from_host(Flow& flow, Instant now) {
  for (int i = 0; i < 64; ++i) {
    const ssize_t n = recv(flow.host.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (n < 0) return;
    const Bytes data = Bytes(buffer_).first(static_cast<std::size_t>(n));
    idle_.touch(flow.idle, flow, now);
    (void)context_.stack.send_datagram(flow.socket, std::span(&data, 1), {}, now);
  }
}

void EchoNat::end(Flow& flow, Instant now) {
  flow.over = true;
  flow.idle.unlink();
  context_.poller.remove(flow.watch);
  context_.users.erase(flow.socket);
  context_.stack.close(flow.socket, now);
  over_.splice(over_.end(), flows_, flow.self);
}

void EchoNat::expire(Instant now) {
  while (Flow* flow = idle_.expired(now)) end(*flow, now);
}

}  // namespace tidewire::gateway

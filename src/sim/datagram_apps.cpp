#include "sim/apps.hpp"

namespace tidewire::sim {
namespace {

constexpr Duration kPatience = Duration::seconds(1);

}  // namespace

DatagramServer::DatagramServer(Host& host, const Endpoint& local, bool answers)
    : host_(host), answers_(answers), buffer_(65536) {
  const SocketResult<SocketId> id = host.stack().open(SocketKind::udp, local.address.family());
  if (!id) return;
  socket_ = *id;
  host.watch(socket_, *this);
  (void)host.stack().bind(socket_, local, host.now());
}

void DatagramServer::on_event(const Event&, Instant now) {
  while (true) {
    const auto info = host_.stack().receive_datagram(socket_, buffer_, false, now);
    if (!info) return;
    const Bytes data = Bytes{buffer_}.first(info->copied);
    received_.emplace_back(data.begin(), data.end());
    infos_.push_back(*info);
    if (!answers_) continue;
    DatagramTarget target;
    target.destination = info->source;
    (void)host_.stack().send_datagram(socket_, {&data, 1}, target, now);
  }
}

DatagramClient::DatagramClient(Host& host, const Endpoint& remote, std::uint32_t rounds,
                               std::size_t size)
    : host_(host), rounds_(rounds), pattern_(size), buffer_(65536), size_(size) {
  const SocketResult<SocketId> id = host.stack().open(SocketKind::udp, remote.address.family());
  if (!id) return;
  socket_ = *id;
  host.watch(socket_, *this);
  (void)host.stack().connect(socket_, remote, host.now());
  send(host.now());
}

void DatagramClient::send(Instant now) {
  if (done()) {
    timeout_ = Instant::never();
    return;
  }
  timeout_ = now + kPatience;
  const MutBytes data = MutBytes{buffer_}.first(size_);
  pattern_.fill(0, data);
  if (!data.empty()) data[0] = static_cast<std::byte>((answered_ + lost_) & 0xff);
  const Bytes parts[] = {data};
  (void)host_.stack().send_datagram(socket_, parts, {}, now);
}

void DatagramClient::on_event(const Event& event, Instant now) {
  if ((event.bits & kError) != 0) (void)host_.stack().take_error(socket_);
  while (true) {
    const auto info = host_.stack().receive_datagram(socket_, buffer_, false, now);
    if (!info) return;
    const Bytes data = Bytes{buffer_}.first(info->copied);
    const auto round = static_cast<std::byte>((answered_ + lost_) & 0xff);
    if (!data.empty() && data[0] != round) continue;  // a duplicate or a late one
    intact_ =
        intact_ && data.size() == size_ && (data.empty() || pattern_.matches(1, data.subspan(1)));
    ++answered_;
    send(now);
  }
}

void DatagramClient::run(Instant now) {
  ++lost_;
  send(now);
}

}  // namespace tidewire::sim

#include "apps/perf_run.hpp"

#include <algorithm>

#include "apps/failure.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

double seconds_since(Instant start, Instant end) {
  return static_cast<double>((end - start).count_nanos()) / 1e9;
}

}  // namespace

void PerfResult::add(const PerfResult& other) {
  good = good && other.good;
  seconds = std::max(seconds, other.seconds);
  bytes += other.bytes;
  count += other.count;
  failed += other.failed;
  damaged += other.damaged;
  times.insert(times.end(), other.times.begin(), other.times.end());
  if (error == SocketError::none) error = other.error;
}

void PerfRun::begin() {
  station_.driver().set_owner(stack(), this);
  limit_ = runtime::Clock::now() + Duration::seconds(options_.timeout_s);
}

void PerfRun::on_event(const Event& event, Instant now) {
  if (event.kind != Event::Kind::socket) return;
  if (event.socket == listener_) return accept_all(now);
  if (echo_ && event.socket == echo_->socket()) return echo_->on_event(now);
  if (sizes_) return sizes_->on_event(now);
  const auto it = flows_.find(event.socket);
  if (it == flows_.end()) return;
  it->second->on_event(event.bits, now);
  if (after_event_) after_event_(*it->second, now);
  if (it->second->finished()) {
    ++finished_;
    received_ += it->second->received();
    if (!it->second->intact()) ++damaged_;
    if (it->second->error() != SocketError::none) ++failed_;
    flows_.erase(it);
  }
}

PerfResult PerfRun::serve(const std::function<void()>& listening) {
  begin();
  const Instant now = runtime::Clock::now();
  const auto socket = stack().open(SocketKind::tcp, Family::v4);
  if (!socket || !stack().bind(*socket, {IpAddress::any(Family::v4), options_.serve, 0}, now) ||
      !stack().listen(*socket, 4096, now)) {
    throw Failure("cannot listen on port " + std::to_string(options_.serve));
  }
  listener_ = *socket;
  const auto datagrams = stack().open(SocketKind::udp, Family::v4);
  if (datagrams && stack().bind(*datagrams, {IpAddress::any(Family::v4), options_.serve, 0}, now)) {
    echo_ = std::make_unique<DatagramEcho>(stack(), *datagrams);
  }
  listening();
  (void)station_.driver().run_until(
      [this] { return options_.once && finished_ != 0 && flows_.empty(); }, limit_);
  stack().close(listener_, runtime::Clock::now());
  PerfResult result;
  result.good = damaged_ == 0;
  result.count = accepted_;
  result.bytes = received_;
  result.failed = failed_;
  result.damaged = damaged_;
  return result;
}

void PerfRun::accept_all(Instant now) {
  while (const auto socket = stack().accept(listener_, now)) {
    ++accepted_;
    PerfFlow& flow = add(*socket);
    flow.serve();
    flow.on_event(stack().readiness(*socket) | kConnected, now);
  }
}

PerfFlow& PerfRun::add(SocketId socket) {
  auto& flow = flows_[socket];
  flow = std::make_unique<PerfFlow>(stack(), pattern_, socket);
  flow->set_verify(!options_.no_verify);
  return *flow;
}

PerfFlow* PerfRun::connect(Instant now) {
  const auto socket = stack().open(SocketKind::tcp, Family::v4);
  if (!socket) return nullptr;
  (void)stack().set_option(*socket, SocketOption::no_delay, 1, now);
  const auto done = stack().connect(*socket, remote_, now);
  if (!done && done.error() != SocketError::in_progress) {
    stack().close(*socket, now);
    return nullptr;
  }
  return &add(*socket);
}

PerfFlow& PerfRun::must_connect(Instant now) {
  PerfFlow* flow = connect(now);
  if (flow == nullptr) throw Failure("cannot connect");
  return *flow;
}

PerfResult PerfRun::measure() {
  begin();
  remote_ = {station_.resolve(options_.host, 1), options_.port, 0};
  if (options_.what == "rr") return round_trips();
  if (options_.what == "connect") return connections();
  if (options_.what == "udp") return datagrams();
  return bulk();
}

PerfResult PerfRun::datagrams() {
  Instant now = runtime::Clock::now();
  const auto socket = stack().open(SocketKind::udp, Family::v4);
  if (!socket || !stack().connect(*socket, remote_, now)) throw Failure("cannot connect");
  sizes_ = std::make_unique<DatagramSizes>(stack(), pattern_, *socket,
                                           static_cast<std::uint32_t>(options_.first),
                                           static_cast<std::uint32_t>(options_.second));
  sizes_->start(now);
  while (!sizes_->finished() && now < limit_) {
    (void)station_.driver().run_until([this] { return sizes_->finished(); },
                                      earlier(limit_, sizes_->deadline()));
    now = runtime::Clock::now();
    if (!sizes_->finished() && sizes_->deadline() <= now) sizes_->on_timeout(now);
  }
  PerfResult result;
  result.good = sizes_->finished() && sizes_->lost() == 0 && sizes_->damaged() == 0;
  result.count = sizes_->intact();
  result.failed = sizes_->lost();
  result.damaged = sizes_->damaged();
  stack().close(*socket, now);
  return result;
}

PerfResult PerfRun::bulk() {
  const Instant start = runtime::Clock::now();
  PerfFlow& flow = must_connect(start);
  const std::string count = std::to_string(options_.first);
  const bool sends = options_.what != "receive";
  if (options_.what == "send") {
    flow.send_text("sink\n");
    flow.expect_text();
  } else {
    flow.send_text((options_.what == "both" ? "both " : "source ") + count + "\n");
    flow.expect_pattern(options_.first);
  }
  flow.send_pattern(sends ? options_.first : 0, true);
  std::string answer;
  std::uint64_t received = 0;
  PerfResult result;
  Instant end = start;
  after_event_ = [&](PerfFlow& f, Instant) {
    if (!f.finished()) return;
    answer = f.text();
    received = f.received();
    result.error = f.error();
    end = runtime::Clock::now();
  };
  (void)station_.driver().run_until([this] { return finished_ != 0; }, limit_);
  result.good =
      finished_ != 0 && damaged_ == 0 && failed_ == 0 &&
      (options_.what == "send" ? answer == "ok " + count + "\n" : received == options_.first);
  result.bytes = options_.first;
  result.seconds = seconds_since(start, end);
  return result;
}

PerfResult PerfRun::round_trips() {
  PerfFlow& flow = must_connect(runtime::Clock::now());
  const std::string message(std::max<std::uint64_t>(options_.second, 1), 'x');
  PerfResult result;
  std::vector<std::int64_t>& times = result.times;
  times.reserve(options_.first);
  Instant sent_at;
  bool started = false;
  flow.send_text("echo\n");
  flow.expect_text();
  after_event_ = [&](PerfFlow& f, Instant now) {
    if (f.finished() || !f.connected()) return;
    if (started && f.text().size() < message.size()) return;
    if (started) times.push_back((runtime::Clock::now() - sent_at).count_nanos());
    started = true;
    f.clear_text();
    if (times.size() >= options_.first) return;
    f.send_text(message);
    sent_at = runtime::Clock::now();
    f.pump(now);
  };
  const Instant start = runtime::Clock::now();
  (void)station_.driver().run_until(
      [&] { return times.size() >= options_.first || finished_ != 0; }, limit_);
  result.seconds = seconds_since(start, runtime::Clock::now());
  result.count = times.size();
  result.good = times.size() == options_.first;
  close_all();
  return result;
}

PerfResult PerfRun::connections() {
  std::uint64_t started = 0;
  const auto start_one = [&] {
    if (started >= options_.first) return;
    if (PerfFlow* flow = connect(runtime::Clock::now())) {
      ++started;
      flow->send_text("echo\nx");
      flow->expect_text();
    }
  };
  PerfResult result;
  after_event_ = [&](PerfFlow& f, Instant now) {
    if (f.finished() || f.text().empty()) return;
    ++result.count;
    f.close(now);
  };
  const Instant start = runtime::Clock::now();
  (void)station_.driver().run_until(
      [&] {
        while (flows_.size() < options_.second && started < options_.first) {
          const std::uint64_t before = started;
          start_one();
          if (before == started) break;
        }
        return finished_ >= options_.first;
      },
      limit_);
  result.seconds = seconds_since(start, runtime::Clock::now());
  result.failed = failed_;
  result.good = result.count == options_.first;
  close_all();
  return result;
}

void PerfRun::close_all() {
  const Instant now = runtime::Clock::now();
  for (auto& [id, flow] : flows_) flow->close(now);
  flows_.clear();
}

}  // namespace tidewire::apps

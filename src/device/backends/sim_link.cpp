#include "device/backends/sim_link.hpp"

#include <utility>

namespace tidewire::device {
namespace {

ImpairedLine::Options line(const SimLink::Options& options, Direction direction) {
  ImpairedLine::Options line;
  line.medium = options.medium;
  line.spec = direction == Direction::up ? options.spec.up : options.spec.down;
  line.direction = direction;
  line.seed = options.seed;
  line.origin = options.origin;
  line.offload = options.offload && !line.spec.impairs();
  line.lend = options.lend;
  return line;
}

}  // namespace

class SimLink::EndDevice final : public Device {
 public:
  EndDevice(std::shared_ptr<SimLink> link, End end)
      : link_(std::move(link)),
        end_(end),
        out_(end == End::a ? link_->up_line_ : link_->down_line_),
        in_(end == End::a ? link_->down_line_ : link_->up_line_) {}

  Capabilities capabilities() const noexcept override {
    const Options& options = link_->options_;
    const LinkSpec& spec = end_ == End::a ? options.spec.up : options.spec.down;
    Capabilities can;
    can.medium = options.medium;
    can.mtu = spec.mtu != 0 ? spec.mtu : options.mtu;
    can.mac = end_ == End::a ? options.mac_a : options.mac_b;
    const bool whole = end_ == End::a ? link_->up_whole_ : link_->down_whole_;
    can.tx_checksum = can.tx_segmentation = can.tx_udp_segmentation = whole;
    can.rx_trusted = end_ == End::a ? link_->down_whole_ : link_->up_whole_;
    return can;
  }
  void advance(Instant now) noexcept override {
    out_.advance(now);
    in_.advance(now);
  }
  std::string_view name() const noexcept override { return link_->options_.name; }
  PushResult push(const TxFrame& frame) noexcept override {
    return link_->up_ ? out_.push(frame) : PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    advance(now);
    return in_.receive(limit);
  }
  bool frames_stay() const noexcept override { return true; }
  std::size_t lent() const noexcept override { return in_.lent(); }
  void flush() noexcept override { out_.settle(); }
  bool writable() noexcept override { return out_.writable(); }
  Instant next_deadline() noexcept override {
    // What this end has pushed is the other end's to receive; only its refusal ends here.
    return earlier(in_.next_arrival(), out_.next_room());
  }
  bool link_up() const noexcept override { return link_->up_; }

 private:
  std::shared_ptr<SimLink> link_;
  End end_;
  ImpairedLine& out_;
  ImpairedLine& in_;
};

SimLink::SimLink(const Options& options, ImpactObserver* observer)
    : options_(options),
      up_line_(line(options, Direction::up), pool_, flows_, observer),
      down_line_(line(options, Direction::down), pool_, flows_, observer),
      up_whole_(options.offload && !options.spec.up.impairs()),
      down_whole_(options.offload && !options.spec.down.impairs()) {}

void SimLink::set_spec(const NetSpec& spec) {
  options_.spec = spec;
  up_line_.set_spec(spec.up);
  down_line_.set_spec(spec.down);
}

std::shared_ptr<SimLink> SimLink::make(const Options& options, ImpactObserver* observer) {
  return std::shared_ptr<SimLink>(new SimLink(options, observer));
}

std::unique_ptr<Device> SimLink::open(End end) {
  return std::make_unique<EndDevice>(shared_from_this(), end);
}

const LinkCounters& SimLink::counters(Direction direction) const noexcept {
  return direction == Direction::up ? up_line_.counters() : down_line_.counters();
}

}  // namespace tidewire::device

// Pumps stacks and their devices on the real clock, in one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/time.hpp"
#include "core/stack.hpp"
#include "device/device.hpp"
#include "runtime/poller.hpp"
#include "runtime/wakeup.hpp"

namespace tidewire::runtime {

/// Gets the events of one stack.
class StackOwner {
 public:
  virtual void on_event(const Event& event, Instant now) = 0;
  /// All events of frames that came over a link in memory, late in a turn, were told. Text that is
  /// read now is read where its sender has it.
  virtual void after_events(Instant now) { (void)now; }

 protected:
  ~StackOwner() = default;
};

/// Something else that wants to run at certain times in the loop.
class Task {
 public:
  virtual Instant next_deadline() = 0;
  /// The deadline has passed.
  virtual void run(Instant now) = 0;
  /// Every turn, when frames were received and events dispatched, before frames are pulled.
  virtual void before_transmit(Instant now) { (void)now; }
  /// The end of every turn: frames were handed to devices.
  virtual void after_turn(Instant now) { (void)now; }

 protected:
  ~Task() = default;
};

struct DriverOptions {
  /// How long to look again and again before sleeping when there is nothing to do.
  Duration spin;
  std::size_t receive_batch = 64;    ///< frames given to a stack at once
  std::size_t receive_frames = 256;  ///< of one device in one turn: no batch begins beyond
  std::size_t receive_bytes = 4U << 20;
  std::size_t events_per_turn = 4096;  ///< of one stack
  TxBudget budget{.frames = 256, .bytes = 8U << 20};
};

/// The loop. Everything runs in the thread that calls run(): stacks, devices, owners, tasks and
/// handlers of the poller. Only stop() may come from elsewhere. Nothing that was added is owned;
/// all of it outlives the driver or is removed.
class Driver {
 public:
  /// Throws std::system_error when the kernel gives no descriptors.
  explicit Driver(const DriverOptions& options = {});
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// `owner` may be null: its events stay in the stack for somebody who polls them.
  void add_stack(Stack& stack, StackOwner* owner);
  void set_owner(Stack& stack, StackOwner* owner) noexcept;
  /// Connects an interface of a stack that was added before to its device.
  void attach(Stack& stack, InterfaceId interface, device::Device& device);
  void add_task(Task& task) { tasks_.push_back(&task); }
  void remove_task(Task& task) noexcept { std::erase(tasks_, &task); }

  Poller& poller() noexcept { return poller_; }

  /// Runs until stop(), `until` or, if `finished` is given, until it answers true after a turn.
  void run(Instant until = Instant::never());
  template <typename Finished>
  bool run_until(Finished finished, Instant until = Instant::never()) {
    // Descriptors are looked at once at least, though `until` may have passed.
    bool looked = false;
    while (!stop_.requested()) {
      if (finished()) return true;
      const Instant now = turn();
      // Before sleeping: what the turn did may be the end, and nothing would wake the loop again.
      if (finished()) return true;  // asked once: the answer may have taken something
      if (looked && now >= until) return false;
      looked |= wait(now, until);
    }
    stop_.clear();
    return finished();
  }
  /// Ends run() after the turn under way. From any thread or signal handler.
  void stop() noexcept { stop_.request(); }

  /// What stands between a stack and one of its devices: for watchdogs.
  struct PortState {
    const Stack* stack;
    std::string_view device;
    bool blocked;  ///< the device said full and has not become writable since
    bool up;
  };
  std::vector<PortState> ports() const;

 private:
  class Port;
  struct Host;

  Instant turn();
  /// After the turn that began at `now`. False: it did not look at the descriptors, for the next
  /// turn has something to read in all likelihood.
  bool wait(Instant now, Instant until);
  bool look_at_once(Instant now);
  bool receive(Port& port, Instant now);
  bool move_on(Instant now);
  static void flush(Host& host);
  void check_ports(Instant now);
  void dispatch(Host& host, Instant now);
  void transmit(Host& host, Instant now);
  Instant next_deadline();
  Host* find(const Stack& stack) noexcept;

  DriverOptions options_;
  Poller poller_;
  Wakeup stop_;
  /// Only wakes the poller: the loop reads the flag.
  struct Silent final : IoHandler {
    void on_io(int, std::uint32_t, Instant) override {}
  } silent_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<Task*> tasks_;
  std::optional<Instant> first_unlooked_;  ///< turn since the last look at the descriptors
  bool more_ = false;                      ///< work was left over by a limit: do not sleep
};

}  // namespace tidewire::runtime

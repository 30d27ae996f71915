// What hostile peers cost the attacked stack: memory, packets, time. Virtual time, one thread; the
// time a packet includes what it takes the attacker to write it.
#include <chrono>
#include <cstdio>

#include "report.hpp"
#include "sim/attacks.hpp"

int main() {
  namespace sim = tidewire::sim;
  std::printf("%-34s %9s %9s %11s %11s %9s  %s\n", "attack", "packets", "answers", "most KiB",
              "kept KiB", "ns/packet", "others");
  bool good = true;
  for (const sim::Attack& attack : sim::attacks()) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point began = Clock::now(), ended = began;
    const sim::AttackCost cost = attack.run(
        1, {.begin = [&] { began = Clock::now(); }, .end = [&] { ended = Clock::now(); }});
    const double seconds = std::chrono::duration<double>(ended - began).count();
    const bool unharmed = cost.newcomers && cost.old_connection;
    good = good && unharmed && cost.left == 0;
    std::printf(
        "%-34.*s %9llu %9llu %11.0f %11.0f %9.0f  %s\n", static_cast<int>(attack.name.size()),
        attack.name.data(), static_cast<unsigned long long>(cost.packets),
        static_cast<unsigned long long>(cost.answers),
        static_cast<double>(cost.most - cost.before) / 1024,
        (static_cast<double>(cost.after) - static_cast<double>(cost.before)) / 1024,
        seconds * 1e9 / static_cast<double>(cost.packets), unharmed ? "unharmed" : "HARMED");
    std::fflush(stdout);
  }
  return good ? 0 : 1;
}

#include "sim/attacks.hpp"

#include <array>
#include <utility>
#include <vector>

#include "sim/arena.hpp"

namespace tidewire::sim {
namespace {

constexpr int kMany = 20'000;  // packets of most attacks
constexpr int kFlood = 100'000;
constexpr int kHosts = 65'000;
constexpr std::uint16_t kWide = 0xffff;

/// Options of a peer that wants a large window and tells what it has.
wire::TcpOptions wide() {
  wire::TcpOptions options;
  options.mss = 1460;
  options.window_scale = 10;
  options.sack_permitted = true;
  return options;
}

/// Runs `attack`, which calls its argument when it is prepared, and judges.
template <typename F>
AttackCost judge(Arena& arena, const AttackClock& clock, F&& attack) {
  AttackCost cost;
  cost.before = arena.memory().in_use();
  attack([&] {
    arena.begin();
    clock.begin();
  });
  clock.end();
  cost.packets = arena.packets();
  cost.answers = arena.answers();
  cost.newcomers = arena.serves_newcomers();
  cost.most = arena.most_memory();
  cost.old_connection = arena.old_connection_works();
  arena.close_foes();
  arena.pass(Duration::seconds(3600));
  cost.old_connection = cost.old_connection && arena.old_connection_works();
  cost.after = arena.memory().in_use();
  cost.left = arena.sockets_left();
  return cost;
}

IpAddress stranger(Arena& arena) {
  return IpAddress::v4(IpAddress::v4(10, 16, 0, 0).v4_value() +
                       static_cast<std::uint32_t>(arena.random().below(1U << 20)));
}

/// A connection whose victim has sent as much as `window` and congestion allow.
Foe greedy(Arena& arena, std::uint16_t window = kWide) {
  Foe foe = arena.connect(wide(), window);
  arena.serve(foe);
  return foe;
}

// Everything is acknowledged at once, received or not, and then some that was never sent.
AttackCost optimistic_acks(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    Foe foe = greedy(arena);
    begin();
    for (int i = 0; i < kMany; ++i) {
      const bool early = i % 2 == 0;
      arena.send(foe, early ? foe.rcv_nxt + 100'000 : foe.rcv_nxt, 64);
      arena.serve(foe);
    }
  });
}

// RFC 5681 is byte-counting: a thousand ACKs for a segment are worth one.
AttackCost ack_division(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    Foe foe = greedy(arena);
    Seq ack = foe.first;
    begin();
    for (int i = 0; i < kMany && ack != foe.rcv_nxt; ++i) arena.send(foe, ack = ack + 1, kWide);
  });
}

AttackCost duplicate_acks(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    Foe foe = greedy(arena);
    begin();
    for (int i = 0; i < kMany; ++i) arena.send(foe, foe.first, kWide);
  });
}

// Blocks in and out of the window, overlapping, reversed, of data never sent.
AttackCost sack_lies(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    Foe foe = greedy(arena);
    begin();
    for (int i = 0; i < kMany; ++i) {
      wire::TcpOptions options;
      for (int k = 0; k < 3; ++k) {
        const auto at = static_cast<std::uint32_t>(arena.random().below(40'000));
        const auto size = static_cast<std::uint32_t>(arena.random().below(3'000));
        options.sack.push_back({foe.first - 10'000 + at, foe.first - 10'500 + at + size});
      }
      arena.send(foe, foe.first, kWide, options);
    }
  });
}

// All but the first segment is reported as received, and forgotten again.
AttackCost reneging(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    Foe foe = greedy(arena);
    begin();
    for (int round = 0; round < 1000; ++round) {
      wire::TcpOptions options;
      options.sack.push_back({foe.first + 1460, foe.rcv_nxt});
      arena.send(foe, foe.first, kWide, options);
      arena.pass(Duration::millis(500));
      arena.send(foe, foe.first, kWide);
    }
  });
}

// A large flight, and ever new holes in what is reported of it.
AttackCost scoreboard_bomb(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    Foe foe = greedy(arena);
    for (int i = 0; i < 300; ++i) {
      arena.pass(Duration::millis(1));
      arena.send(foe, foe.rcv_nxt, 4096);
      arena.serve(foe);
    }
    const Seq una = foe.rcv_nxt;
    arena.serve(foe);
    begin();
    for (std::uint32_t i = 0; i < kMany; ++i) {
      wire::TcpOptions options;
      for (std::uint32_t k = 0; k < 4; ++k) {
        const Seq at = una + 2 + (i * 4 + k) * 2;
        options.sack.push_back({at, at + 1});
      }
      arena.send(foe, una, 4096, options);
    }
  });
}

// Out of order, a byte in two.
AttackCost island_bomb(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    Foe foe = arena.connect(wide());
    begin();
    for (int i = 0; i < kMany; ++i) {
      foe.snd_nxt = foe.snd_nxt + 2;
      arena.send(foe, foe.rcv_nxt, kWide, {}, 1);
    }
  });
}

AttackCost least_mss(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    wire::TcpOptions options = wide();
    options.mss = 1;
    options.window_scale.reset();
    Foe foe = arena.connect(options, kWide);
    begin();
    for (int i = 0; i < kMany / 10; ++i) {
      arena.serve(foe);
      arena.send(foe, foe.rcv_nxt, kWide);
    }
  });
}

// A thousand connections that have something to say and may not, for a day.
AttackCost closed_windows(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    begin();
    std::vector<Foe> foes;
    for (int i = 0; i < 1000; ++i) {
      foes.push_back(arena.connect(wide(), 0));
      arena.serve(foes.back());
    }
    for (int hour = 0; hour < 24; ++hour) {
      for (Foe& foe : foes) arena.send(foe, foe.rcv_nxt, 0);
      arena.pass(Duration::seconds(600));
    }
  });
}

AttackCost one_byte_windows(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    wire::TcpOptions options;
    options.mss = 1460;
    Foe foe = arena.connect(options, 1);
    begin();
    for (int i = 0; i < kMany; ++i) {
      arena.serve(foe);
      arena.send(foe, foe.rcv_nxt, 1);
    }
  });
}

AttackCost syn_flood(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    begin();
    for (int i = 0; i < kFlood; ++i) {
      Foe foe;
      foe.address = stranger(arena);
      foe.port = static_cast<std::uint16_t>(1 + arena.random().below(65'000));
      arena.send(foe.address, arena.syn(foe, wide(), kWide));
    }
  });
}

StackConfig for_many() {
  StackConfig config;
  config.tcp.half_open_max = 1U << 17;
  config.tcp.somaxconn = 1U << 17;
  return config;
}

// Here the records are kept: the backlog is as long as that.
AttackCost half_open(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed, for_many(), 1U << 17);
  return judge(arena, clock, [&](auto&& begin) {
    begin();
    for (int i = 0; i < kHosts; ++i) {
      Foe foe;
      foe.address = stranger(arena);
      arena.send(foe.address, arena.syn(foe, wide(), kWide));
    }
  });
}

AttackCost idle_connections(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed, for_many(), 1U << 17);
  return judge(arena, clock, [&](auto&& begin) {
    begin();
    for (int i = 0; i < kHosts; ++i) (void)arena.connect(wide());
  });
}

// Errors of all kinds about the honest connection, with sequence numbers that are guessed.
AttackCost icmp_forgeries(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    const Endpoint client = arena.old_client();
    begin();
    for (int i = 0; i < kMany; ++i) {
      std::array<std::byte, 28> quote{};
      Writer writer{quote};
      wire::Ipv4Repr ip;
      ip.source = IpAddress::v4(10, 0, 0, 1);
      ip.destination = client.address;
      ip.protocol = wire::protocol::tcp;
      ip.payload_len = 1400;
      wire::emit(ip, writer);
      wire::store_u16(quote.data() + 20, Arena::kPort);
      wire::store_u16(quote.data() + 22, client.port);
      wire::store_u32(quote.data() + 24, static_cast<std::uint32_t>(arena.random().next()));
      const auto code = static_cast<std::uint8_t>(i % 16);
      auto message = wire::Icmpv4Repr::unreachable(code, quote, 68);
      if (i % 5 == 0) message = wire::Icmpv4Repr::time_exceeded(0, quote);
      if (i % 7 == 0) message.header.type = wire::Icmpv4Type::source_quench;
      arena.send_icmp(stranger(arena), message);
    }
  });
}

// RFC 5961: resets, SYNs and text in the name of the honest client, with guessed numbers.
AttackCost blind_segments(std::uint64_t seed, const AttackClock& clock) {
  Arena arena(seed);
  return judge(arena, clock, [&](auto&& begin) {
    const Endpoint client = arena.old_client();
    constexpr std::array kFlags{
        wire::TcpFlags{wire::TcpFlag::rst}, wire::TcpFlag::rst | wire::TcpFlag::ack,
        wire::TcpFlags{wire::TcpFlag::syn}, wire::TcpFlags{wire::TcpFlag::ack},
        wire::TcpFlag::fin | wire::TcpFlag::ack};
    begin();
    for (int i = 0; i < kMany; ++i) {
      wire::TcpRepr segment;
      segment.source_port = client.port;
      segment.destination_port = Arena::kPort;
      segment.seq = Seq{static_cast<std::uint32_t>(arena.random().next())};
      segment.ack = Seq{static_cast<std::uint32_t>(arena.random().next())};
      segment.flags = kFlags[static_cast<std::size_t>(i) % kFlags.size()];
      segment.window = kWide;
      arena.send(client.address, segment, segment.flags == kFlags[3] ? 100 : 0);
    }
  });
}

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;
// The send buffer of a connection grows up to 4 MiB, its receive buffer up to 6 MiB.
constexpr std::array kAttacks{
    Attack{"optimistic ACKs", optimistic_acks, 5 * kMiB, 4800},
    Attack{"ACK division", ack_division, 5 * kMiB, 200},
    Attack{"duplicate ACKs", duplicate_acks, 5 * kMiB, 200},
    Attack{"SACK lies", sack_lies, 5 * kMiB, 200},
    Attack{"reneging", reneging, 5 * kMiB, 4800},
    Attack{"scoreboard bomb", scoreboard_bomb, 6 * kMiB, 200},
    Attack{"out-of-order bomb", island_bomb, 1 * kMiB, 120},
    Attack{"MSS 1", least_mss, 5 * kMiB, 90'000},
    Attack{"window 0 for a day, 1,000 times", closed_windows, 160 * kMiB, 1000},
    Attack{"one-byte windows", one_byte_windows, 5 * kMiB, 200},
    Attack{"100,000 SYNs", syn_flood, 4 * kMiB, 120},
    Attack{"65,000 half-open connections", half_open, 32 * kMiB, 120},
    Attack{"65,000 idle connections", idle_connections, 256 * kMiB, 120},
    Attack{"ICMP forgeries", icmp_forgeries, 64 * kKiB, 10},
    Attack{"blind segments", blind_segments, 64 * kKiB, 120},
};

}  // namespace

std::span<const Attack> attacks() noexcept { return kAttacks; }

}  // namespace tidewire::sim

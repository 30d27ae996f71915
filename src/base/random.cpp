#include "base/random.hpp"

#include <bit>

namespace tidewire {
namespace {

struct SipState {
  std::uint64_t v0, v1, v2, v3;

  explicit SipState(const RandomSeed& key) noexcept
      : v0(key.low ^ 0x736f6d6570736575U),
        v1(key.high ^ 0x646f72616e646f6dU),
        v2(key.low ^ 0x6c7967656e657261U),
        v3(key.high ^ 0x7465646279746573U) {}

  void round() noexcept {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  template <int rounds = 1>
  void absorb(std::uint64_t word) noexcept {
    v3 ^= word;
    for (int i = 0; i < rounds; ++i) round();
    v0 ^= word;
  }
  template <int rounds = 3>
  std::uint64_t finish() noexcept {
    v2 ^= 0xff;
    for (int i = 0; i < rounds; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

std::uint64_t little_endian(Bytes bytes) noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    word |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return word;
}

template <int per_word, int at_end>
std::uint64_t siphash(const RandomSeed& key, Bytes message) noexcept {
  SipState state{key};
  const std::uint64_t length = message.size();
  while (message.size() >= 8) {
    state.absorb<per_word>(little_endian(message.first(8)));
    message = message.subspan(8);
  }
  state.absorb<per_word>(length << 56 | little_endian(message));
  return state.finish<at_end>();
}

std::uint64_t split_mix(std::uint64_t& state) noexcept {
  state += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

}  // namespace

std::uint64_t siphash13(const RandomSeed& key, Bytes message) noexcept {
  return siphash<1, 3>(key, message);
}

std::uint64_t siphash24(const RandomSeed& key, Bytes message) noexcept {
  return siphash<2, 4>(key, message);
}

std::uint64_t siphash13(const RandomSeed& key, std::uint64_t a, std::uint64_t b, std::uint64_t c,
                        std::uint64_t d) noexcept {
  SipState state{key};
  state.absorb(a);
  state.absorb(b);
  state.absorb(c);
  state.absorb(d);
  return state.finish();
}

RandomSeed derive(const RandomSeed& seed, std::uint64_t purpose) noexcept {
  return {siphash13(seed, purpose, 1), siphash13(seed, purpose, 2)};
}

Rng::Rng(const RandomSeed& seed) noexcept {
  std::uint64_t mix = seed.low ^ std::rotl(seed.high, 31);
  for (std::uint64_t& word : state_) word = split_mix(mix);
}

std::uint64_t Rng::next() noexcept {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Rng::below(std::uint64_t bound) noexcept {
  if (bound == 0) return 0;
  // Rejection keeps the draw unbiased; the loop ends after less than two turns on average.
  const std::uint64_t threshold = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t draw = next();
    if (draw >= threshold) return draw % bound;
  }
}

}  // namespace tidewire

#include "front/posix/notifiers.hpp"

#include <algorithm>

namespace tidewire::posix {

int Notifiers::add(Fd listener) {
  const bool watched = watch_ && watch_(listener.get(), true);
  sources_.push_back(
      {++last_, std::make_unique<Notifier>(std::move(listener), features_), watched});
  if (watched) sources_.back().notifier->share(shared_);
  return sources_.back().notifier->descriptor();
}

Notifiers::Source* Notifiers::behind(int listener) noexcept {
  const auto found =
      std::ranges::find(sources_, listener, [](const Source& s) { return s.notifier->listener(); });
  return found == sources_.end() ? nullptr : &*found;
}

bool Notifiers::receive(Call& call, int listener, bool readable) {
  const Source* source = behind(listener);
  if (source == nullptr || !source->notifier->receive(call, readable)) return false;
  call.source = source->number;
  return true;
}

bool Notifiers::receive_another(Call& call, int listener) {
  const Source* source = behind(listener);
  if (source == nullptr || !source->notifier->receive_another(call)) return false;
  call.source = source->number;
  return true;
}

void Notifiers::share(bool shared) {
  shared_ = shared;
  for (const Source& source : sources_) {
    if (source.watched) source.notifier->share(shared);
  }
}

bool Notifiers::next(Call& call) {
  for (std::size_t tried = 0; tried < sources_.size();) {
    turn_ = (turn_ + 1) % sources_.size();
    Source& source = sources_[turn_];
    // Asked before its queue: what came until then is in there.
    const bool live = source.notifier->live();
    if (source.notifier->next(call)) {
      call.source = source.number;
      return true;
    }
    if (live) {
      ++tried;
    } else {
      if (watch_) watch_(source.notifier->listener(), false);
      sources_.erase(sources_.begin() + static_cast<std::ptrdiff_t>(turn_));
    }
  }
  return false;
}

bool Notifiers::live() const noexcept {
  return std::ranges::any_of(sources_, [](const Source& s) { return s.notifier->live(); });
}

bool Notifiers::pending() const noexcept {
  return std::ranges::any_of(sources_, [](const Source& s) { return s.notifier->pending(); });
}

Notifier* Notifiers::of(const Call& call) const noexcept {
  const auto found = std::ranges::find(sources_, call.source, &Source::number);
  return found == sources_.end() ? nullptr : found->notifier.get();
}

bool Notifiers::give_value(const Call& call, std::int64_t value) {
  Notifier* notifier = of(call);
  return notifier != nullptr && notifier->give_value(call, value);
}

bool Notifiers::give_error(const Call& call, int error) {
  Notifier* notifier = of(call);
  return notifier != nullptr && notifier->give_error(call, error);
}

bool Notifiers::let_through(const Call& call) {
  Notifier* notifier = of(call);
  return notifier != nullptr && notifier->let_through(call);
}

int Notifiers::give_fd(const Call& call, int fd, bool close_on_exec) {
  Notifier* notifier = of(call);
  return notifier == nullptr ? -1 : notifier->give_fd(call, fd, close_on_exec);
}

bool Notifiers::replace_fd(const Call& call, int fd, int target, bool close_on_exec) {
  Notifier* notifier = of(call);
  return notifier != nullptr && notifier->replace_fd(call, fd, target, close_on_exec);
}

bool Notifiers::still_waiting(const Call& call) const {
  Notifier* notifier = of(call);
  return notifier != nullptr && notifier->still_waiting(call);
}

}  // namespace tidewire::posix

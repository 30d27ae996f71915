#include "apps/joining.hpp"

#include <algorithm>

#include "apps/version.hpp"
#include "device/net_spec.hpp"
#include "front/posix/reach.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr Duration kPatienceForProgram = Duration::seconds(10);

control::Reply refusal(std::string why) {
  return {.lines = {}, .more = {}, .error = std::move(why)};
}

std::string quoted_net(const std::string& net) {
  return net.empty() ? "a perfect link" : "'" + net + "'";
}

}  // namespace

std::string Joining::contradiction(const control::Record& request) const {
  if (request.get("version") != kVersion) {
    return "it was started by tidewire " + std::string(kVersion) + ", not " +
           std::string(request.get("version"));
  }
  const bool named = request.get("net").starts_with('@') ||
                     request.get("net").find("trace=") != std::string_view::npos;
  if (named && request.get("net") != options_.net) {
    return "--net names a file, and not as the running host does; leave --net away, or write it as "
           "there: " +
           quoted_net(options_.net);
  }
  if (request.has("net") && !named) {
    const auto spec = device::parse_net_spec(request.get("net"));
    if (!spec) return spec.error();
    if (*spec != network_.net()) {
      return "--net contradicts the running host: there it is " +
             quoted_net(device::to_string(network_.net())) + ", not " +
             quoted_net(device::to_string(*spec)) +
             "; leave --net away, or change it with tidewire net set";
    }
  }
  if (request.has("seed") && request.number("seed") != network_.seed()) {
    return "--seed contradicts the running host: there it is " + std::to_string(network_.seed());
  }
  for (const std::string& option : request.all("option")) {
    if (std::ranges::find(options_.given, option) == options_.given.end()) {
      return option + " contradicts the running host, which was started without it";
    }
  }
  return {};
}

std::string Joining::publish(const control::Record& request) {
  for (const std::string& text : request.all("publish")) {
    const auto spec = gateway::parse_publish(text);
    if (!spec) return spec.error();
    const auto in = [&](const auto& list) { return std::ranges::find(list, *spec) != list.end(); };
    if (in(options_.published) || in(published_later_)) continue;
    if (const auto opened = network_.gateway().publish(*spec); !opened) return opened.error();
    published_later_.push_back(*spec);
  }
  return {};
}

control::Reply Joining::ask(const control::Request& request, const std::string& host) {
  if (closed_) return refusal(std::string(kHostIsEnding));
  if (program_ == nullptr) {
    return refusal(
        "its programs are on the kernel's TCP (--tcp kernel), in a network namespace that is "
        "theirs alone; start what belongs together from one command");
  }
  if (members_.contains(request.connection)) return refusal("this command has joined already");
  if (std::string why = contradiction(request.record); !why.empty()) return refusal(why);
  const posix::Features& features = program_->features();
  const auto cell = request.record.number("cell");
  const auto word = request.record.number("word");
  if (!cell || !word) return refusal("join needs cell=ADDRESS word=NUMBER");
  // It has another number for itself: its children would have others, too.
  const bool elsewhere = request.record.number("pid") != static_cast<std::uint64_t>(request.pid);
  const std::string why =
      posix::explain_out_of_reach(elsewhere ? 0 : request.pid, *cell, *word, features.pidfd_getfd);
  if (!why.empty()) return refusal(why);
  if (std::string problem = publish(request.record); !problem.empty()) return refusal(problem);
  members_[request.connection] = {.since = runtime::Clock::now()};
  control::Record answer("joined");
  answer.add("wait_killable", std::uint64_t{features.wait_killable});
  answer.add("mtu", std::uint64_t{network_.mtu()});
  answer.add("preload", std::uint64_t{program_->preloads()});
  answer.add("no_host", std::uint64_t{options_.no_host});
  return {.lines = host + to_line(answer), .more = {}, .error = {}, .keep = true};
}

control::Reply Joining::take_program(control::Request& request) {
  const auto member = members_.find(request.connection);
  const auto guard = request.record.number("guard");
  if (member == members_.end() || member->second.started) return refusal("join comes first, once");
  if (!guard || *guard < 2 || *guard > 0x7fffffff || !request.passed) {
    return refusal("program needs guard=PID and the descriptor of its system calls");
  }
  posix::Fd listener(request.passed.release());
  if (!posix::is_child_of(static_cast<pid_t>(*guard), request.pid)) {
    return refusal("that guard is no child of the command that joins");
  }
  if (!posix::is_listener(listener.get())) {
    return refusal("that descriptor does not bring system calls");
  }
  member->second.guard = static_cast<pid_t>(*guard);
  member->second.started = true;
  program_->take_in(std::move(listener), member->second.guard);
  return {.lines = {}, .more = {}, .error = {}, .keep = true};
}

void Joining::gone(control::ConnectionId connection) {
  const auto member = members_.find(connection);
  if (member == members_.end()) return;
  if (member->second.started) program_->let_go(member->second.guard);
  members_.erase(member);
}

std::size_t Joining::joined() const {
  const Instant since = runtime::Clock::now() - kPatienceForProgram;
  const auto counts = [since](const auto& m) { return m.second.started || m.second.since > since; };
  return static_cast<std::size_t>(std::ranges::count_if(members_, counts));
}

std::vector<control::ConnectionId> Joining::connections() const {
  std::vector<control::ConnectionId> ids;
  for (const auto& [id, member] : members_) ids.push_back(id);
  return ids;
}

}  // namespace tidewire::apps

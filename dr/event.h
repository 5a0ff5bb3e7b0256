// What a routine reports while it works. The library never prints.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace flatland {

struct LossComponent {
  std::string name;
  double value = 0;  // weighted, summed over the epoch's batches
};

struct Event {
  enum class Kind { stage_started, stage_finished, phase_started, epoch_finished, phase_finished, warning };
  Kind kind = Kind::warning;
  // stage: "computing global relations 'rel'"; phase and epoch: the phase's name; warning: the sentence
  std::string text = "";
  double seconds = 0;   // stage_finished, phase_finished: how long it took; epoch_finished: since phase start
  int epoch = 0;        // epoch_finished: epochs done so far
  int epochs = 0;       // of so many
  bool report = false;  // epoch_finished: due by the phase's report_interval (and for the first and last)
  double loss = 0;      // summed over the epoch's batches
  std::vector<LossComponent> components = {};
};

// Anything callable with an event. It returns nothing, or a bool: false asks the routine to stop after this
// epoch; while it prepares, before the next.
class Listener {
 public:
  Listener() = default;
  template <class F>
  requires std::is_invocable_v<F&, const Event&> Listener(F f)
      : call_([f = std::move(f)](const Event& event) mutable {
          if constexpr (std::is_same_v<std::invoke_result_t<F&, const Event&>, bool>) {
            return f(event);
          } else {
            f(event);
            return true;
          }
        }) {}

  bool operator()(const Event& event) const { return !call_ || call_(event); }
  explicit operator bool() const { return static_cast<bool>(call_); }

 private:
  std::function<bool(const Event&)> call_;
};

// Ready-made listeners. The stream must outlive the routine.
// A line a stage, phase, reported epoch and warning, with the time, in ParaDime's form. Epochs count from 0,
// as in ParaDime's log and as PhaseHistory is indexed.
Listener log_to(std::ostream& out);
// One line, rewritten in place; for terminals.
Listener progress_to(std::ostream& out);
// phase,epoch,loss,components: a row an epoch (from 0); components are "name=value" joined with ";".
Listener csv_history_to(std::ostream& out);
// All of them, in this order; asks to stop when one does.
Listener all_of(std::vector<Listener> listeners);

}  // namespace flatland

#include <flatland/dr/event.h>

#include <chrono>
#include <ctime>
#include <iomanip>
#include <memory>
#include <ostream>
#include <sstream>

namespace flatland {

namespace {

// A line of ParaDime's log: "2022-11-18 13:24:28,573: text".
std::string stamped(const std::string& text) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  std::ostringstream line;
  line << std::put_time(&local, "%Y-%m-%d %H:%M:%S") << ',' << std::setw(3) << std::setfill('0') << ms << ": "
       << text << '\n';
  return line.str();
}

std::string number(double value, int digits) {
  std::ostringstream text;
  text << std::setprecision(digits) << value;
  return text.str();
}

// A field of a CSV file, quoted where it must be.
std::string field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

}  // namespace

Listener log_to(std::ostream& out) {
  return [&out](const Event& event) {
    switch (event.kind) {
      case Event::Kind::stage_started:
        out << stamped(event.text) << std::flush;
        break;
      case Event::Kind::phase_started:
        out << stamped("beginning training phase '" + event.text + "'") << std::flush;
        break;
      case Event::Kind::epoch_finished:
        if (event.report) {
          out << stamped("loss after epoch " + std::to_string(event.epoch - 1) + ": " + number(event.loss, 9))
              << std::flush;
        }
        break;
      case Event::Kind::warning:
        out << stamped("warning: " + event.text) << std::flush;
        break;
      case Event::Kind::stage_finished:
      case Event::Kind::phase_finished:
        break;
    }
  };
}

Listener progress_to(std::ostream& out) {
  // The line's length, to blank out what a shorter one leaves.
  auto width = std::make_shared<std::size_t>(0);
  const auto show = [&out, width](const std::string& text, bool last) {
    out << '\r' << text << std::string(*width > text.size() ? *width - text.size() : 0, ' ');
    if (last) out << '\n';
    *width = last ? 0 : text.size();
    out << std::flush;
  };
  return [show](const Event& event) {
    switch (event.kind) {
      case Event::Kind::stage_started:
      case Event::Kind::phase_started:
        show(event.text, false);
        break;
      case Event::Kind::epoch_finished: {
        constexpr int k_cells = 30;
        const int filled = event.epochs > 0 ? k_cells * event.epoch / event.epochs : k_cells;
        show(event.text + " [" + std::string(static_cast<std::size_t>(filled), '#') +
                 std::string(static_cast<std::size_t>(k_cells - filled), '.') + "] " +
                 std::to_string(event.epoch) + "/" + std::to_string(event.epochs) + "  loss " +
                 number(event.loss, 4),
             false);
        break;
      }
      case Event::Kind::phase_finished:
        show(event.text + ": " + number(event.seconds, 3) + " s", true);
        break;
      case Event::Kind::warning:
        show("warning: " + event.text, true);
        break;
      case Event::Kind::stage_finished:
        break;
    }
  };
}

Listener csv_history_to(std::ostream& out) {
  auto header = std::make_shared<bool>(false);
  return [&out, header](const Event& event) {
    if (event.kind != Event::Kind::epoch_finished) return;
    if (!*header) out << "phase,epoch,loss,components\n";
    *header = true;
    std::string components;
    for (const LossComponent& c : event.components) {
      components += (components.empty() ? "" : ";") + c.name + "=" + number(c.value, 9);
    }
    out << field(event.text) << ',' << event.epoch - 1 << ',' << number(event.loss, 9) << ','
        << field(components) << '\n'
        << std::flush;
  };
}

Listener all_of(std::vector<Listener> listeners) {
  return [listeners = std::move(listeners)](const Event& event) {
    bool go_on = true;
    for (const Listener& listener : listeners) go_on = listener(event) && go_on;
    return go_on;
  };
}

}  // namespace flatland

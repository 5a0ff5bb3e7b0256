// Which training steps may be recorded on a GPU (private to this folder).
#pragma once

#include <flatland/dr/losses.h>
#include <flatland/dr/training.h>

namespace flatland {

// True when each step queues the same kernels and decides nothing on the host: built-in losses of built-in
// functions and relations. A user's function may count steps, draw numbers or print, and must be called each
// time.
bool replayable(const Loss& loss, const RelationMap& batch_relations, Sampling sampling);

}  // namespace flatland

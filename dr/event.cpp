#include <flatland/dr/event.h>

#include <flatland/engine/shape.h>

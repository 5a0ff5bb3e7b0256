// The version of flatland; the build reads it from here.
#pragma once

#define FLATLAND_VERSION_MAJOR 0
#define FLATLAND_VERSION_MINOR 1
#define FLATLAND_VERSION_PATCH 0
#define FLATLAND_VERSION "0.1.0"

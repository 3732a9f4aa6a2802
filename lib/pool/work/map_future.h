/* map_future.h - inside the library: the future of a map, a loop or a chunk of a stream. */
#ifndef BROOD_POOL_WORK_MAP_FUTURE_H
#define BROOD_POOL_WORK_MAP_FUTURE_H

#include "pool/future/future.h"

extern const struct future_ops brood__map_future;

#endif

/* kind_inside.c - workers that are threads of the host: one that waits inside a task of its pool can run another task. */
#include "pool/core/kind.h"
#include "worker/server.h"

const struct inside_ops brood__inside_ops = {
    .is_worker = brood__serves,
    .run = brood__serve_inside,
    .runs_word = brood__serves_word,
    .run_aside = brood__serve_aside,
    .runs_aside = brood__serves_aside,
};

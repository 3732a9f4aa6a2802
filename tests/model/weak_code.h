/* weak_code.h - included before code that is to be explored: its atomic operations become weak.h's. */
#ifndef BROOD_TESTS_MODEL_WEAK_CODE_H
#define BROOD_TESTS_MODEL_WEAK_CODE_H

#include <stdatomic.h>
#include <string.h>
#include <unistd.h> /* before syscall() is another */

#include "model/weak.h"

#define WEAK_VALUE(at, call)                                                        \
    __extension__({                                                                 \
        __typeof__((void)0, *(at)) weak_value = (__typeof__((void)0, *(at)))(call); \
        weak_value;                                                                 \
    })

#undef atomic_load_explicit
#define atomic_load_explicit(at, order) WEAK_VALUE(at, weak_load((at), sizeof(*(at)), (int)(order), __func__))
#undef atomic_store_explicit
#define atomic_store_explicit(at, value, order) weak_store((at), sizeof(*(at)), (uint64_t)(value), (int)(order), __func__)
#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(at, expected, value, order, failure) \
    weak_swap((at), sizeof(*(at)), (expected), (uint64_t)(value), (int)(order), (int)(failure), __func__)
#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit \
    atomic_compare_exchange_strong_explicit /* failing for no reason adds a lap \
                                             */
#define WEAK_UPDATE_OF(at, operation, value, order) \
    WEAK_VALUE(at, weak_update((at), sizeof(*(at)), operation, (uint64_t)(value), (int)(order), __func__))
#undef atomic_exchange_explicit
#define atomic_exchange_explicit(at, value, order) WEAK_UPDATE_OF(at, WEAK_SET, value, order)
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(at, value, order) WEAK_UPDATE_OF(at, WEAK_ADD, value, order)
#undef atomic_fetch_sub_explicit
#define atomic_fetch_sub_explicit(at, value, order) WEAK_UPDATE_OF(at, WEAK_SUB, value, order)
#undef atomic_fetch_and_explicit
#define atomic_fetch_and_explicit(at, value, order) WEAK_UPDATE_OF(at, WEAK_AND, value, order)
#undef atomic_fetch_or_explicit
#define atomic_fetch_or_explicit(at, value, order) WEAK_UPDATE_OF(at, WEAK_OR, value, order)
#undef atomic_load
#define atomic_load(at) atomic_load_explicit(at, memory_order_seq_cst)
#undef atomic_store
#define atomic_store(at, value) atomic_store_explicit(at, value, memory_order_seq_cst)
#undef atomic_compare_exchange_strong
#define atomic_compare_exchange_strong(at, expected, value) \
    atomic_compare_exchange_strong_explicit(at, expected, value, memory_order_seq_cst, memory_order_seq_cst)
#undef atomic_compare_exchange_weak
#define atomic_compare_exchange_weak atomic_compare_exchange_strong
#undef atomic_exchange
#define atomic_exchange(at, value) atomic_exchange_explicit(at, value, memory_order_seq_cst)
#undef atomic_fetch_add
#define atomic_fetch_add(at, value) atomic_fetch_add_explicit(at, value, memory_order_seq_cst)
#undef atomic_fetch_sub
#define atomic_fetch_sub(at, value) atomic_fetch_sub_explicit(at, value, memory_order_seq_cst)
#undef atomic_fetch_and
#define atomic_fetch_and(at, value) atomic_fetch_and_explicit(at, value, memory_order_seq_cst)
#undef atomic_fetch_or
#define atomic_fetch_or(at, value) atomic_fetch_or_explicit(at, value, memory_order_seq_cst)
#undef atomic_thread_fence
#define atomic_thread_fence(order) weak_fence(WEAK_FENCE, (int)(order), __func__)
#undef atomic_signal_fence
#define atomic_signal_fence(order) \
    weak_fence(WEAK_LIGHT, (int)(order), __func__) /* to membarrier(2) it is the other side */
#undef memcpy
#define memcpy weak_copy

#undef syscall
#define syscall weak_syscall

#endif

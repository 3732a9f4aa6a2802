/* chaos.h - `brood chaos`: kills the workers of a busy pool at random, and sees whether every task is accounted for. */
#ifndef BROOD_WORKERS_CHAOS_H
#define BROOD_WORKERS_CHAOS_H

int chaos_main(int argc, char **argv);

#endif

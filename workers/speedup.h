/* speedup.h - `brood speedup`: what threads, threads behind a lock, and processes make of CPU-bound work.
 *
 * The same integral is computed by each of them, in turn and several times over, and a table compares them with one loop on
 * one core.  docs/man/brood.md describes the options.
 */
#ifndef BROOD_WORKERS_SPEEDUP_H
#define BROOD_WORKERS_SPEEDUP_H

/* The status for main() to return: 0; 1: a wrong result, or something failed; 2: bad arguments.  argv[0] is the name for
 * messages: "brood speedup". */
int speedup_main(int argc, char **argv);

#endif

/* gc.h - `brood gc`: finds the names of shared memory that killed programs have left. */
#ifndef BROOD_WORKERS_GC_H
#define BROOD_WORKERS_GC_H

int gc_main(int argc, char **argv);

#endif

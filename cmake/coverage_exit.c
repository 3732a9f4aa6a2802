/* coverage_exit.c - in builds with BROOD_COVERAGE only: a process that ends by _exit() writes down what it reached.
 *
 * gcov's counts are written by an exit handler, which _exit() is there to avoid, and workers end by _exit().  The linker's
 * --wrap=_exit sends their calls here. */
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
void __gcov_dump(void);

void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

/* worker_tasks.c - the tests' tasks as a worker executable. */
#include "tasks.h"

/* With an argument it keeps a diary there. */
int main(int argc, char **argv)
{
    if (argc < 2)
        return brood_worker_main(argc, argv);
    return brood_worker_main_with(argc, argv,
                                  BROOD_WORKER(.initializer = begin_diary, .finalizer = end_diary, .context = argv[1]));
}

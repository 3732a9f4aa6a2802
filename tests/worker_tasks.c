/* worker_tasks.c - the tests' tasks as a worker executable. */
#include <brood.h>

int main(int argc, char **argv)
{
    return brood_worker_main(argc, argv);
}

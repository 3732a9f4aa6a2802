/* module_triple.c - a module for brood-worker, with one task, which check_tool.c asks for. */
#include <brood/task.h>

BROOD_TASK(module_triple, double, double)
{
    *result = 3 * *arg;
    return 0;
}

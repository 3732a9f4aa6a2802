/* cgroup.h - the directories that hold the limits of this process's control groups. */
#ifndef BROOD_OS_CGROUP_H
#define BROOD_OS_CGROUP_H

#include <stdbool.h>

#define CGROUP_PATH_MAX 4096

/* Calls visit(directory, version, data) for the group of the process whose cgroup and mountinfo files are in the
 * directory `proc`, and for each group that contains it, as far as they are mounted: of version 2, and of version 1 in
 * the hierarchy of that controller.  Every path that the files name is taken to be below `root`.  The same group may be
 * visited twice. */
void brood__cgroup_each(const char *proc, const char *root, const char *controller,
                        void (*visit)(const char *directory, int version, void *data), void *data);

/* Reads the first line of a file, without its newline.  False: there is none. */
bool brood__cgroup_read(const char *directory, const char *name, char *ret_text, int size);

/* Calls visit(line, data) for each line of a file, without its newline; visit may write to it. */
void brood__cgroup_lines(const char *directory, const char *name, void (*visit)(char *line, void *data), void *data);

#endif

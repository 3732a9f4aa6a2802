/* json_out.c - where a command's JSON goes. */
#include "json_out.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "words.h"

static int failed(const struct json_out *out, int error)
{
    return complain(out->program, "--json '%s': %s", out->name, strerror(error));
}

/* Where standard output is closed a file that is opened would take its number, and the table would go there. */
static int open_file(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666), high;

    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return high;
}

int json_out_open(struct json_out *out, const char *program, const char *name)
{
    int fd;

    *out = (struct json_out){.program = program, .name = name};
    if (!name)
        return 0;
    fd = json_out_alone(out) ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : open_file(name);
    out->file = fd < 0 ? NULL : fdopen(fd, "w");
    return out->file ? 0 : failed(out, errno);
}

bool json_out_alone(const struct json_out *out)
{
    return out->name && strcmp(out->name, "-") == 0;
}

static int write_all(FILE *file, const json_t *json)
{
    errno = 0;
    if (json_dumpf(json, file, JSON_INDENT(2)) < 0 || fputc('\n', file) == EOF || fflush(file) == EOF)
        return errno > 0 ? errno : EIO;
    return 0;
}

int json_out_write(struct json_out *out, json_t *json)
{
    int error = json ? 0 : ENOMEM;

    /* Devices and pipes cannot be cut, and need not. */
    if (out->file && !error && !json_out_alone(out) && ftruncate(fileno(out->file), 0) < 0 && errno != EINVAL)
        error = errno;
    if (out->file && !error)
        error = write_all(out->file, json);
    json_decref(json);
    return out->file && error ? failed(out, error) : 0;
}

void json_out_close(struct json_out *out)
{
    if (out->file)
        fclose(out->file);
    out->file = NULL;
}

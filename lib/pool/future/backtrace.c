#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/symbols.h"
#include "pool/future/backtrace.h"
#include "proto/certificate.h"

/* A line: "#number path+0xaddress". */
struct frame {
    const char *line, *path;
    size_t length, path_bytes; /* of the line without its end; of the path, or 0 if the line has another form */
    uint64_t address;
    uint64_t back; /* 1 for a caller: the address is after its call, which may be the last instruction of the function */
    bool is_done;
};

struct trace {
    struct frame frames[CERTIFICATE_FRAMES_MAX];
    struct symbol symbols[CERTIFICATE_FRAMES_MAX]; /* of the frames of the same index */
    size_t count, named;
    const char *rest; /* lines for which there was no room */
};

/* ---- reading ---- */

static struct frame read_frame(const char *line)
{
    struct frame frame = {.line = line, .length = strcspn(line, "\n")};
    const char *path = memchr(line, ' ', frame.length), *plus = memrchr(line, '+', frame.length);
    char *end;

    if (line[0] != '#' || !path || path[1] != '/' || !plus || plus < path || strncmp(plus, "+0x", 3) != 0)
        return frame;
    frame.address = strtoull(plus + 3, &end, 16);
    if (end != line + frame.length || end == plus + 3 || plus - path > PATH_MAX)
        return frame;
    frame.back = line[1] != '0';
    frame.path = path + 1;
    frame.path_bytes = (size_t)(plus - path - 1);
    return frame;
}

static void read_trace(struct trace *trace, const char *text)
{
    for (; *text && trace->count < CERTIFICATE_FRAMES_MAX; trace->count++) {
        struct frame frame = read_frame(text);

        trace->frames[trace->count] = frame;
        text += frame.length + (text[frame.length] == '\n');
    }
    trace->rest = text;
}

/* ---- naming ---- */

static bool is_same_file(const struct frame *one, const struct frame *other)
{
    return one->path_bytes == other->path_bytes && memcmp(one->path, other->path, one->path_bytes) == 0;
}

/* Looks up the frames of the same file, from `first` on. */
static void name_file(struct trace *trace, size_t first)
{
    char path[PATH_MAX + 1];
    struct symbol *symbols = calloc(trace->count, sizeof(*symbols));
    struct frame *frames = trace->frames;
    size_t count = 0, places[CERTIFICATE_FRAMES_MAX];
    int fd;

    for (size_t i = first; symbols && i < trace->count; i++)
        if (is_same_file(&frames[i], &frames[first])) {
            frames[i].is_done = true;
            symbols[count].address = frames[i].address - frames[i].back;
            places[count++] = i;
        }
    (void)snprintf(path, sizeof(path), "%.*s", (int)frames[first].path_bytes, frames[first].path);
    fd = symbols ? brood__symbols_open(path) : -ENOMEM;
    if (fd >= 0 && brood__symbols_find(fd, symbols, count) > 0)
        for (size_t i = 0; i < count; i++) {
            trace->symbols[places[i]] = symbols[i];
            trace->named += symbols[i].name[0] != '\0';
        }
    if (fd >= 0)
        (void)close(fd);
    free(symbols);
}

/* ---- writing ---- */

static void write_frame(FILE *to, const struct frame *frame, const struct symbol *symbol)
{
    int head = frame->path ? (int)(frame->path - frame->line) : 0; /* the number */

    if (symbol->name[0])
        (void)fprintf(to, "%.*s%s+0x%llx (%.*s)\n", head, frame->line, symbol->name,
                      (unsigned long long)(frame->address - symbol->start), (int)frame->length - head, frame->path);
    else
        (void)fprintf(to, "%.*s\n", (int)frame->length, frame->line);
}

static char *write_trace(const struct trace *trace)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (!to)
        return NULL;
    for (size_t i = 0; i < trace->count; i++)
        write_frame(to, &trace->frames[i], &trace->symbols[i]);
    (void)fputs(trace->rest, to);
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

char *brood__backtrace_name(const char *text)
{
    struct trace *trace = text[0] ? calloc(1, sizeof(*trace)) : NULL;
    char *named = NULL;

    if (!trace)
        return NULL;
    read_trace(trace, text);
    for (size_t i = 0; i < trace->count; i++)
        if (trace->frames[i].path_bytes > 0 && !trace->frames[i].is_done)
            name_file(trace, i);
    if (trace->named > 0)
        named = write_trace(trace);
    free(trace);
    return named;
}

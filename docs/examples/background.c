/* background.c - a file is compressed in the background while the main program goes on, and then waits for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>
#include <zlib.h>

struct job {
    const char *from, *to;
    long bytes; /* read */
};

static int copy(FILE *from, gzFile to, long *ret_bytes)
{
    char block[1 << 16];
    size_t length;

    while ((length = fread(block, 1, sizeof(block), from)) > 0) {
        if (gzwrite(to, block, (unsigned)length) != (int)length)
            return brood_fail(-EIO, "cannot compress: %s", gzerror(to, &(int){0}));
        *ret_bytes += (long)length;
    }
    return ferror(from) ? brood_fail(-EIO, "cannot read: %s", strerror(errno)) : 0;
}

static int compress_file(void *context)
{
    struct job *job = context;
    FILE *from = fopen(job->from, "rb");
    gzFile to = gzopen(job->to, "wb");
    int r = from && to ? copy(from, to, &job->bytes) : brood_fail(-errno, "cannot open %s", from ? job->to : job->from);

    if (to && gzclose(to) != Z_OK && r == 0)
        r = brood_fail(-EIO, "cannot write %s", job->to);
    if (from)
        fclose(from);
    if (r == 0)
        printf("Finished background compression of %s\n", job->from);
    return r;
}

static long size_of(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;

    if (file)
        fclose(file);
    return size;
}

int main(int argc, char **argv)
{
    char archive[] = "/tmp/background-XXXXXX";
    int fd = mkstemp(archive), r, result = -1;
    struct job job = {.from = argc > 1 ? argv[1] : argv[0], .to = archive};
    brood_auto(thread) *background = NULL;

    if (fd < 0)
        return 1;
    close(fd);
    r = brood_thread_start(&background, BROOD_THREAD(.run = compress_file, .context = &job, .name = "AsyncZip"));
    puts("The main program continues to run in foreground.");
    if (r == 0)
        r = brood_thread_join(background, BROOD_FOREVER);
    if (r == 0)
        r = brood_thread_result(background, &result);
    puts("Main program waited until background was done.");
    printf("%ld bytes, compressed to %ld\n", job.bytes, size_of(archive));
    unlink(archive);
    return r == 0 && result == 0 && job.bytes > 0 ? 0 : 1;
}

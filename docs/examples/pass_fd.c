/* pass_fd.c - a child gets a file's descriptor through a pipe: it was opened after the child began, and has no name. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>

static const char words[] = "words in a file without a name";

/* The child: reads what is in the file, and sends it back. */
static int read_file(void *context)
{
    char text[64];
    int fd;

    int r = brood_pipe_recv_fd(context, &fd, brood_after_ms(5000));
    if (r < 0)
        return r;
    ssize_t length = pread(fd, text, sizeof(text), 0);
    close(fd); /* it was the child's own */
    if (length < 0)
        return 1;
    return brood_pipe_send(context, (struct brood_bytes){text, (size_t)length}, BROOD_FOREVER);
}

int main(void)
{
    brood_auto(pipe) *mine = NULL, *its = NULL;
    brood_auto(process) *child = NULL;
    char text[64];
    struct brood_space space = {text, sizeof(text)};

    int r = brood_pipe_open(&mine, &its, BROOD_PIPE_DUPLEX);
    if (r == 0)
        r = brood_process_start(&child, BROOD_PROCESS(.run = read_file, .context = its));
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    brood_pipe_close(its);

    FILE *file = tmpfile();
    if (!file || fputs(words, file) < 0 || fflush(file) != 0)
        return 1;
    r = brood_pipe_send_fd(mine, fileno(file), BROOD_FOREVER);
    fclose(file); /* what was sent is another descriptor of the same open file */
    if (r == 0)
        r = brood_pipe_recv(mine, &space, brood_after_ms(5000));
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    printf("the child has read: %.*s\n", (int)space.len, text);
    return space.len == strlen(words) && memcmp(text, words, space.len) == 0 ? 0 : 1;
}

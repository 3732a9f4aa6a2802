/* pipe.c - a child that answers questions: a pipe that goes both ways, whole messages, and the end when one of them goes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <brood.h>

struct ends {
    struct brood_pipe *mine, *its; /* the parent's, the child's */
};

static void shout(char *words, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (words[i] >= 'a' && words[i] <= 'z')
            words[i] = (char)(words[i] - 'a' + 'A');
}

/* The child: answers until the parent asks no more. */
static int answer(void *context)
{
    const struct ends *ends = context;
    struct brood_pipe *pipe = ends->its;
    char words[64];
    int r;

    brood_pipe_close(ends->mine); /* or the child would hold open the end whose closing it waits for */
    for (;;) {
        struct brood_space space = {words, sizeof(words)};

        r = brood_pipe_recv(pipe, &space, BROOD_FOREVER);
        if (r < 0)
            break;
        shout(words, space.len);
        r = brood_pipe_send(pipe, (struct brood_bytes){words, space.len}, BROOD_FOREVER);
        if (r < 0)
            break;
    }
    return r == -EPIPE ? 0 : 1; /* -EPIPE: the parent has closed its end, and that is all */
}

static int ask(struct brood_pipe *pipe, const char *question)
{
    char words[64];
    struct brood_space space = {words, sizeof(words)};
    int r = brood_pipe_send(pipe, (struct brood_bytes){question, strlen(question)}, BROOD_FOREVER);

    if (r == 0)
        r = brood_pipe_recv(pipe, &space, brood_after_ms(5000));
    if (r == 0)
        printf("%s -> %.*s\n", question, (int)space.len, words);
    return r;
}

int main(void)
{
    brood_auto(process) *child = NULL;
    struct ends ends;
    int status = 1;

    if (brood_pipe_open(&ends.mine, &ends.its, BROOD_PIPE_DUPLEX) < 0)
        return 1;
    int r = brood_process_start(&child, BROOD_PROCESS(.run = answer, .context = &ends));
    brood_pipe_free(ends.its);
    if (r == 0)
        r = ask(ends.mine, "hello");
    if (r == 0)
        r = ask(ends.mine, "are you there?");
    brood_pipe_free(ends.mine);
    if (r == 0)
        r = brood_process_join(child, BROOD_FOREVER);
    if (r == 0)
        r = brood_process_status(child, &status);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    return status;
}

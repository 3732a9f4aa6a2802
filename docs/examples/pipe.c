/* pipe.c - a child that answers questions: a pipe that goes both ways, whole messages, and the end when one of them goes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

static void shout(char *words, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (words[i] >= 'a' && words[i] <= 'z')
            words[i] = (char)(words[i] - 'a' + 'A');
}

/* The child: answers until nobody asks any more. */
static int answer(struct brood_pipe *pipe)
{
    char words[64];
    int r;

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
    else
        fprintf(stderr, "%s\n", brood_error());
    return r;
}

int main(void)
{
    brood_auto(pipe) *mine = NULL, *its = NULL;
    int status;

    if (brood_pipe_open(&mine, &its, BROOD_PIPE_DUPLEX) < 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        brood_pipe_close(mine); /* or the child would hold open the end whose closing it waits for */
        _exit(answer(its));
    }
    brood_pipe_close(its);
    if (ask(mine, "hello") < 0 || ask(mine, "is anybody there?") < 0)
        return 1;
    brood_pipe_close(mine);
    waitpid(child, &status, 0);
    return status;
}

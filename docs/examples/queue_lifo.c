/* queue_lifo.c - eight queens on a board, none in the way of another, in all 92 ways.  Threads take boards out of a queue
 * and put back those with one queen more.  The last one in is the first one out, so the fullest boards are finished first,
 * and there are never many in the queue. */
#include <stdio.h>

#include <brood.h>

#define THREADS 3
#define SIZE 8

struct board {
    int queens;
    int column[SIZE]; /* of the queen in each row */
};

static bool is_free(const struct board *board, int column)
{
    for (int row = 0; row < board->queens; row++) {
        int rows = board->queens - row, columns = column - board->column[row];

        if (columns == 0 || columns == rows || columns == -rows)
            return false;
    }
    return true;
}

static int put_next(struct brood_queue *queue, struct board board)
{
    int r = 0;

    for (int column = 0; r == 0 && column < SIZE; column++) {
        if (!is_free(&board, column))
            continue;
        struct board next = board;

        next.column[next.queens++] = column;
        r = brood_queue_put(queue, (struct brood_bytes){&next, sizeof(next)}, BROOD_FOREVER);
    }
    return r;
}

/* Returns how many full boards it got. */
static int search(void *context)
{
    struct board board;
    int found = 0, r = 0;

    while (r == 0 && brood_queue_get(context, &(struct brood_space){&board, sizeof(board)}, BROOD_FOREVER) == 0) {
        if (board.queens == SIZE)
            found++;
        else
            r = put_next(context, board);
        brood_queue_task_done(context); /* after the next ones were put, or the join would be over too early */
    }
    return r < 0 ? r : found;
}

int main(void)
{
    struct brood_thread *threads[THREADS];
    brood_auto(queue) *queue = NULL;
    struct board empty = {.queens = 0};
    int found = 0, result = 0;

    if (brood_queue_open(&queue, BROOD_QUEUE(.kind = BROOD_LIFO, .joinable = true)) < 0)
        return 1;
    brood_queue_put(queue, (struct brood_bytes){&empty, sizeof(empty)}, BROOD_FOREVER);
    for (int i = 0; i < THREADS; i++)
        if (brood_thread_start(&threads[i], BROOD_THREAD(.run = search, .context = queue)) < 0)
            return 1;
    int r = brood_queue_join(queue, BROOD_FOREVER);
    brood_queue_shutdown(queue, false);
    for (int i = 0; i < THREADS; i++) {
        brood_thread_join(threads[i], BROOD_FOREVER);
        r |= brood_thread_result(threads[i], &result);
        brood_thread_free(threads[i]);
        found += result;
    }
    printf("%d ways\n", found);
    return r == 0 && found == 92 ? 0 : 1;
}

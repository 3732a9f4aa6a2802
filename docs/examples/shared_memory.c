/* shared_memory.c - workers fill in a picture where it lies: nothing is copied, and what is passed are pointers. */
#include <stdio.h>

#include <brood.h>

struct picture {
    int width, height;
    unsigned char *pixels; /* in memory of brood_alloc(), as the struct itself */
};

struct row {
    struct picture *picture;
    int y;
};

BROOD_TASK(paint, struct row, int)
{
    struct picture *picture = arg->picture;

    for (int x = 0; x < picture->width; x++)
        picture->pixels[arg->y * picture->width + x] = (unsigned char)(x ^ arg->y);
    *result = 0;
    return 0;
}

int main(void)
{
    enum { WIDTH = 640, HEIGHT = 480 };
    brood_auto(pool) *pool = NULL;
    struct picture *picture = NULL;
    struct row rows[HEIGHT];
    int results[HEIGHT], wrong = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 4));
    if (r == 0)
        picture = brood_alloc(pool, sizeof(*picture));
    if (picture)
        *picture = (struct picture){WIDTH, HEIGHT, brood_alloc(pool, (size_t)WIDTH * HEIGHT)};
    if (!picture || !picture->pixels) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    for (int y = 0; y < HEIGHT; y++)
        rows[y] = (struct row){picture, y};
    r = brood_map(pool, paint, results, rows, HEIGHT);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());

    for (int i = 0; i < WIDTH * HEIGHT; i++)
        wrong += picture->pixels[i] != (unsigned char)(i % WIDTH ^ i / WIDTH);
    printf("%d pixels, %d of them wrong\n", WIDTH * HEIGHT, wrong);
    return r == 0 && wrong == 0 ? 0 : 1; /* closing the pool frees its memory */
}

// expect ok:    -DITEMS=4 -DCHUNK=1 -DKILLS=2
// expect ok:    -DITEMS=5 -DCHUNK=2 -DKILLS=2
// expect ok:    -DITEMS=3 -DCHUNK=1 -DWORKERS=3
// expect ok:    -DITEMS=2 -DCHUNK=1 -DKILLS=1 -DWINDOWS=2
// expect ok:    -DITEMS=3 -DCHUNK=1 -DKILLS=1 -DCYCLES
// expect long:  -DITEMS=6 -DCHUNK=1 -DKILLS=2
// expect long:  -DITEMS=2 -DCHUNK=1 -DKILLS=1 -DWORKERS=3
// expect long:  -DITEMS=3 -DCHUNK=1 -DKILLS=1 -DWORKERS=3
// expect error: -DITEMS=2 -DKILLS=1 -DNOITEM               # `item` is not stored before the item runs
// expect error: -DITEMS=2 -DKILLS=1 -DEARLYSWEEP           # the sweep does not wait for every helper
// expect error: -DITEMS=2 -DSTOREFIRST                     # a thief stores its own range before it has taken it
// expect error: -DITEMS=2 -DCYCLES -DBOUNCE                # a thief puts all that it took into its range
// expect error: -DITEMS=2 -DPLAINCLAIM                     # the owner claims with a plain store
// expect error: -DITEMS=3 -DKILLS=2 -DKEEPRANGE            # what the dead left in their ranges stays there for the next pass
// expect error: -DITEMS=2 -DKILLS=1 -DWINDOWS=2 -DSTALEITEM # `item` survives its helper
// expect error: -DITEMS=2 -DKILLS=1 -DREADLATE             # the sweep reads `item` itself, not a copy made before the replacement
// expect error: -DITEMS=2 -DKILLS=1 -DEARLYSTART           # the replacement starts before the repair is done

/* A map over range words, with workers killed before any step.
 *
 * One window of ITEMS items; each worker has a range word {lo, hi} and a word `item` on a line of its own.  One helper task
 * per worker is submitted, which any worker may run: it takes chunks of its worker's own range, then the upper half of
 * somebody else's, until every range is empty.  When all helpers are answered the host sweeps the status bytes.  README.md
 * says more. */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef ITEMS
#define ITEMS 3
#endif
#ifndef CHUNK
#define CHUNK 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef WINDOWS
#define WINDOWS 1
#endif

/* The segment. */
byte lo[WORKERS], hi[WORKERS]; /* one word: every access is to both */
byte item[WORKERS];            /* 0, or the item being run plus 1; written by the worker alone while it lives */
bool status[ITEMS];
#define NONE 0
#define READY 1
#define DONE 2
#define LOST 3
#define RUN(w) (4 + (w))
byte helper[WORKERS];
byte named[WORKERS]; /* what the certificate of a lost helper says: the victim's `item` */

bool dead[WORKERS]; /* the kernel: its pidfd is readable */

/* The host's private memory. */
byte outcome[ITEMS];
#define PENDING 0
#define OUTCOME_OK 1
#define OUTCOME_DIED 2

/* Observers. */
byte kills = KILLS, charged;
bool begun[ITEMS], finished[ITEMS], announced[ITEMS];

#if KILLS > 0
#define STEP(x) atomic { if :: kills > 0 -> kills--; goto killed :: true fi; x }
#else
#define STEP(x) atomic { x }
#endif

#define CLAIM(r) atomic { helper[r] == READY -> helper[r] = RUN(w); x = r }

proctype worker(byte w)
{
    byte x /* the helper it runs */, a, b /* a range as read */, i, v /* victim */, n;

end_free:
    if
    :: CLAIM(0)
    :: CLAIM(1)
#if WORKERS > 2
    :: CLAIM(2)
#endif
#if KILLS > 0
    :: atomic { kills > 0 -> kills--; goto killed }
#endif
    fi;

own:
    STEP(a = lo[w]; b = hi[w]; if :: a >= b -> a = 0; b = 0; goto steal :: else fi);
    STEP(if :: a + CHUNK < b -> n = a + CHUNK :: else -> n = b fi;
#ifdef PLAINCLAIM
         lo[w] = n; hi[w] = b;
#else
         if :: lo[w] == a && hi[w] == b -> lo[w] = n :: else -> a = 0; b = 0; n = 0; goto own fi;
#endif
         i = a; a = 0; b = 0);
next:
#ifndef NOITEM
    STEP(item[w] = i + 1; announced[i] = true);
#endif
    STEP(assert(!begun[i]); begun[i] = true);
    STEP(assert(outcome[i] == PENDING); finished[i] = true; status[i] = true);
    i++;
    if :: i < n -> goto next :: else -> i = 0; n = 0; goto own fi;

steal:
    STEP(v = (w + 1 + i) % WORKERS; a = lo[v]; b = hi[v]; i++;
         if
         :: a < b
         :: a < b && i < WORKERS - 1 -> goto steal /* perhaps a fuller one comes */
         :: a >= b && i < WORKERS - 1 -> goto steal
         :: a >= b && i >= WORKERS - 1 -> i = 0; a = 0; b = 0; v = 0; goto nothing
         fi;
         i = 0; n = a + (b - a) / 2);
#ifdef STOREFIRST
    STEP(lo[w] = n; hi[w] = b);
#endif
    STEP(if
         :: lo[v] == a && hi[v] == b -> hi[v] = n; i = n; a = 0; v = 0
         :: else -> a = 0; b = 0; n = 0; v = 0; goto own
         fi);
    /* The first chunk stays in the thief's hand: if all of it went into its range, two thieves could pass the last items
       to and fro for ever.  Killed before the store below, nobody's range has these items; the sweep finds them. */
#ifdef BOUNCE
    STEP(lo[w] = i; hi[w] = b; b = 0; n = 0; i = 0);
    goto own;
#else
    if :: i + CHUNK < b -> n = i + CHUNK :: else -> n = b fi;
#ifdef STOREFIRST
    STEP(lo[w] = n; b = 0);
#else
    STEP(lo[w] = n; hi[w] = b; b = 0);
#endif
    goto next;
#endif

nothing:
#ifndef STALEITEM
    STEP(item[w] = 0);
#endif
    STEP(assert(helper[x] == RUN(w)); helper[x] = DONE; x = 0);
    goto end_free;

killed:
    atomic { x = 0; a = 0; b = 0; i = 0; v = 0; n = 0; dead[w] = true };
    !dead[w] -> goto end_free
}

proctype supervisor()
{
    byte w, r, saved;

end:
    do
    :: atomic {
           if
           :: dead[0] -> w = 0
           :: dead[1] -> w = 1
#if WORKERS > 2
           :: dead[2] -> w = 2
#endif
           fi
       };
#ifdef EARLYSTART
       atomic { dead[w] = false };
#endif
       saved = item[w];
#if !defined(STALEITEM) && !defined(READLATE)
       item[w] = 0;
#endif
       do
       :: r < WORKERS ->
          atomic {
#ifdef READLATE
              if :: helper[r] == RUN(w) -> named[r] = w + 1; helper[r] = LOST :: else fi;
#else
              if :: helper[r] == RUN(w) -> named[r] = saved; helper[r] = LOST :: else fi;
#endif
              r++
          }
       :: else -> r = 0; break
       od;
#ifdef EARLYSTART
       atomic { saved = 0; w = 0 }
#else
       atomic { saved = 0; dead[w] = false; w = 0 }
#endif
    od
}

proctype host()
{
    byte window, r, i, c;
    bool missing;

fill:
    atomic {
        do
        :: i < ITEMS -> assert(helper[0] < RUN(0) && helper[1] < RUN(0));
                        status[i] = false; outcome[i] = PENDING;
                        begun[i] = false; finished[i] = false; announced[i] = false; i++
        :: else -> i = 0; break
        od;
        do
        :: r < WORKERS -> lo[r] = r * ITEMS / WORKERS; hi[r] = (r + 1) * ITEMS / WORKERS; r++
        :: else -> r = 0; break
        od
    };

pass:
    do
    :: r < WORKERS -> atomic { named[r] = 0; helper[r] = READY; r++ }
    :: else -> r = 0; break
    od;
    do
    :: r < WORKERS -> atomic { helper[r] == DONE || helper[r] == LOST -> r++ }
#ifdef EARLYSWEEP
    :: r < WORKERS -> r = 0; break
#endif
    :: r == WORKERS -> r = 0; break
    od;

    /* The sweep: nobody works on this map any more. */
    atomic {
#ifdef READLATE
        do
        :: r < WORKERS -> if :: named[r] -> named[r] = item[named[r] - 1] :: else fi; r++
        :: else -> r = 0; break
        od;
#endif
        do
        :: r < WORKERS ->
           if
           :: helper[r] == LOST && named[r] ->
              c = named[r] - 1;
              if
              :: !status[c] && outcome[c] == PENDING -> assert(announced[c]); outcome[c] = OUTCOME_DIED; charged++
              :: else
              fi;
              c = 0
           :: else
           fi;
#ifndef KEEPRANGE
           lo[r] = 0; hi[r] = 0;
#endif
           r++
        :: else -> r = 0; break
        od;
        do
        :: i < ITEMS ->
           if
           :: outcome[i] == PENDING && status[i] -> assert(finished[i]); outcome[i] = OUTCOME_OK
           :: else
           fi;
           if
           :: outcome[i] != PENDING -> /* the end of a run of items to put back */
              if :: missing -> missing = false; r++ :: else fi
           :: outcome[i] == PENDING && !missing && r < WORKERS -> missing = true; lo[r] = i; hi[r] = i + 1
           :: outcome[i] == PENDING && missing -> hi[r] = i + 1
           :: outcome[i] == PENDING && !missing && r == WORKERS /* next pass */
           fi;
           i++
        :: else -> break
        od;
        i = 0;
        if
        :: missing || r > 0 -> missing = false; r = 0; goto pass
        :: else
        fi
    };
    atomic {
        do
        :: i < ITEMS -> assert(outcome[i] == OUTCOME_DIED || (outcome[i] == OUTCOME_OK && finished[i])); i++
        :: else -> i = 0; break
        od;
        assert(charged <= KILLS - kills);
        window++
    };
    if :: window < WINDOWS -> goto fill :: else fi
}

init
{
    byte w;

    atomic {
        do
        :: w < WORKERS -> run worker(w); w++
        :: else -> break
        od;
        w = 0;
        run supervisor();
        run host()
    }
}

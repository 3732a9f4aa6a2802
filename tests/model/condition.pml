// expect ok:
// expect ok:    -DKILLS=1
// expect long:  -DKILLS=2
// expect error: -DKILLS=1 -DNOSLICE     # nobody looks around: the grant of one who was woken and killed stays
// expect error: -DKILLS=2 -DNOSETTLE    # a grant that was left over is not taken away before the boundary moves
// expect error: -DKILLS=1 -DNOBOUNDARY  # who came later may take what was left over
// expect error: -DKILLS=1 -DNOCLAMP     # the dead are taken away, but not the grants that they leave
// expect error: -DKILLS=1 -DLATEDEAD    # a notification believes that the dead wait: the grant of a living one is not given

/* The grants of a condition (lib/sync/condition.c): WAITERS that wait once, each a process, and one that notifies one of
 * them NOTIFIES times.  Any of them may be killed before any of its steps.
 *
 * Checked, for each living waiter that is still there when nothing moves any more: each notification that was made while it
 * waited was taken by another one.  And whenever a grant is taken: of those who came after the k-th notification, no more
 * have returned than there were notifications since, and grants that living waiters were about to take then.  README.md
 * says more. */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef WAITERS
#define WAITERS 3
#endif
#ifndef NOTIFIES
#define NOTIFIES 2
#endif

byte lock; /* 0: free; else its owner's number + 1 */
bool dead[WAITERS + 1];
bool came[WAITERS], was[WAITERS]; /* the waiter table: since the last notification, before it */
byte tickets, boundary, grants, sequence;
bool asleep[WAITERS]; /* the kernel: in the queue of the sequence */
byte kills = KILLS;

/* What is only looked at. */
byte begun;                  /* notifications */
bool waits[WAITERS];         /* registered, and has taken nothing */
byte owed[WAITERS];          /* notifications while it waited that nobody has taken */
byte returned[NOTIFIES + 1]; /* of those who came after so many notifications */
byte untaken[NOTIFIES + 1];  /* grants that living waiters had not taken yet when the next one began */

#define STEP(x) atomic { if :: kills > 0 -> kills--; goto killed :: true fi; x }
#define OWNER_IS_DEAD (lock != 0 && dead[lock - 1])
#define ACQUIRE \
    atomic { \
        if \
        :: kills > 0 -> kills--; goto killed \
        :: lock == 0 -> lock = me + 1 \
        :: OWNER_IS_DEAD -> lock = me + 1; told = true \
        fi \
    }

#ifdef NOBOUNDARY
#define MAY_TAKE (grants > 0)
#else
#define MAY_TAKE (grants > 0 && ticket < boundary)
#endif

inline note_taken()
{
    waits[me] = false;
    for (i : 0 .. epoch) {
        returned[i]++;
        assert(returned[i] <= begun - i + untaken[i])
    }
    for (i : 0 .. WAITERS - 1) {
        if :: owed[i] > 0 -> owed[i]-- :: else fi
    }
    i = 0
}

proctype waiter(byte me)
{
    byte ticket, seen, epoch, i;
    bool told, took;

    ACQUIRE;
    told = false;
    STEP(ticket = tickets; tickets++);
    STEP(came[me] = true; waits[me] = true; epoch = begun);
    STEP(lock = 0);
again:
    STEP(seen = sequence);
    STEP(if :: MAY_TAKE -> goto try :: else fi);
    STEP(if :: sequence == seen -> asleep[me] = true :: else -> goto again fi);
end:
    atomic {
        if
        :: kills > 0 -> kills--; goto killed
        :: !asleep[me] -> goto again
#ifndef NOSLICE
        :: asleep[me] && MAY_TAKE -> asleep[me] = false; goto again
#endif
        :: asleep[me] && OWNER_IS_DEAD -> asleep[me] = false; lock = me + 1; told = true
        fi
    };
    goto have;
try:
    ACQUIRE;
have:
    STEP(if :: MAY_TAKE -> grants--; took = true; note_taken() :: else fi);
    if
    :: took || told -> skip
    :: else -> STEP(lock = 0); goto again
    fi;
    STEP(came[me] = false; was[me] = false; waits[me] = false; owed[me] = 0);
    STEP(lock = 0);
    goto over;
killed:
    atomic { dead[me] = true; asleep[me] = false; waits[me] = false; owed[me] = 0 };
over:
    skip
}

inline count(result, field)
{
    result = 0;
    for (i : 0 .. WAITERS - 1) {
        result = result + (field)
    }
    i = 0
}

proctype notifier()
{
    byte me = WAITERS, round, i, w, n, left, waiting, old;
    bool told, found;

again:
    if :: round == NOTIFIES -> goto over :: else -> round++ fi;
    ACQUIRE;
    STEP(count(old, (waits[i] && owed[i] > 0)); untaken[begun] = (old < grants -> old : grants); old = 0;
         begun++; found = false; left = 0);
#ifndef NOSETTLE
    if
    :: grants > 0 ->
        w = 0;
        do
        :: w < WAITERS -> STEP(if :: dead[w] && (came[w] || was[w]) -> came[w] = false; was[w] = false; found = true :: else fi; w++)
        :: else -> break
        od;
        w = 0;
#ifndef NOCLAMP
        STEP(count(old, was[i]); if :: grants > old -> grants = old :: else fi);
#endif
        if :: found -> left = grants :: else fi
    :: else
    fi;
#endif
    atomic {
        count(waiting, (came[i] || was[i]));
#ifdef LATEDEAD
        n = (waiting > grants && !dead[0] -> 1 : 0);
#else
        n = (waiting > grants -> 1 : 0);
#endif
        waiting = 0;
        old = 0
    };
    if :: n + left == 0 -> goto made :: else fi;
    do
    :: w < WAITERS -> STEP(if :: came[w] -> was[w] = true; came[w] = false :: else fi; w++)
    :: else -> break
    od;
    w = 0;
    STEP(boundary = tickets);
made:
    STEP(grants = grants + n; for (i : 0 .. WAITERS - 1) { if :: waits[i] -> owed[i]++ :: else fi } i = 0);
    STEP(if :: n + left > 0 -> sequence++ :: else fi);
    do
    :: n + left > 0 ->
        STEP(
            if
            :: asleep[0] -> asleep[0] = false
            :: asleep[1] -> asleep[1] = false
            :: asleep[2] -> asleep[2] = false
            :: !asleep[0] && !asleep[1] && !asleep[2]
            fi;
            if :: n > 0 -> n-- :: else -> left-- fi)
    :: else -> break
    od;
    STEP(lock = 0);
    goto again;
killed:
    dead[me] = true;
over:
    skip
}

proctype monitor()
{
    byte i;

end:
    timeout;
    for (i : 0 .. WAITERS - 1) {
        assert(!(waits[i] && owed[i] > 0))
    }
}

init
{
    atomic { run waiter(0); run waiter(1); run waiter(2); run notifier(); run monitor() }
}

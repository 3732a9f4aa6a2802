// expect ok:    -DTASKS=1 -DRESIZES=1 -DKILLS=1
// expect ok:    -DTASKS=2 -DRESIZES=1
// expect ok:    -DTASKS=1 -DRESIZES=2
// expect ok:    -DTASKS=1 -DTIRED=2
// expect ok:    -DTASKS=1 -DTIRED=1 -DRESIZES=1
// expect ok:    -DTASKS=0 -DTIRED=1 -DRESIZES=1 -DKILLS=1
// expect ok:    -DTASKS=1 -DTIRED=2 -DMIN=0
// expect ok:    -DTASKS=1 -DSPARES=1 -DKILLS=1
// expect ok:    -DTASKS=0 -DSPARES=1 -DKILLS=2
// expect ok:    -DTASKS=0 -DSPARES=1 -DKILLS=1 -DRESIZES=1
// expect ok:    -DTASKS=1 -DTIRED=1 -DRESIZES=1 -DCYCLES
// expect ok:    -DTASKS=1 -DTIRED=1 -DNOFENCE -DRESTLATE   # who is being buried is away before: one who is there takes the task
// expect long:  -DTASKS=1 -DRESIZES=2 -DKILLS=1
// expect long:  -DTASKS=2 -DTIRED=2
// expect long:  -DTASKS=1 -DTIRED=1 -DKILLS=1 -DRESIZES=1
// expect long:  -DTASKS=1 -DSPARES=1 -DKILLS=2
// expect long:  -DTASKS=1 -DSPARES=1 -DKILLS=1 -DRESIZES=1
// expect error: -DTASKS=0 -DRESIZES=1 -DNOWAKE             # who is sent away sleeps on
// expect error: -DTASKS=1 -DRESIZES=1 -DNOCALL             # nobody is called for what waits in the lane of who is sent away
// expect error: -DTASKS=0 -DRESIZES=2 -DNOLOOK             # the supervisor is not told that more are wanted
// expect error: -DTASKS=0 -DRESIZES=2 -DLOOKFIRST          # it looks at the roll, and then takes the order to look
// expect error: -DTASKS=0 -DRESIZES=1 -DNOROLL -DCYCLES    # who is sent away is replaced, by one who is sent away
// expect error: -DTASKS=1 -DTIRED=1 -DNOLASTLOOK           # it does not look for tasks that came while one went to rest
// expect error: -DTASKS=1 -DTIRED=1 -DNOAWAY               # the host is not told that nobody is at that lane
// expect error: -DTASKS=1 -DTIRED=1 -DCALLONLY             # the host calls who rests, and does not tell the supervisor
// expect error: -DTASKS=1 -DTIRED=1 -DTWOCALLS             # host and supervisor both believe that the other one has called
// expect error: -DTASKS=0 -DSPARES=1 -DKILLS=2 -DKEEPTAG   # the death of who has taken over is told as a spare's
// expect error: -DTASKS=0 -DSPARES=1 -DKILLS=2 -DKEEPSPARE # who has taken over is thought to be a spare still
// expect error: -DTASKS=1 -DSPARES=1 -DKILLS=1 -DEARLYTAKE # a spare takes over before the repair is done
// expect error: -DTASKS=0 -DSPARES=1 -DNODISMISS           # a pool that ends does not tell its spares

/* The workers: which of them comes for a task while workers are sent away, rest, die, and are replaced by spares or forked anew.
 *
 * A process may be killed before any of its steps: a worker, or a spare at any moment of its taking over.  Lanes are as in
 * lane.pml, and told shortly: a claim, a run and an answer are a step each.  README.md says what each process does, what is
 * checked and what is left out.  Flags: TASKS, RESIZES (each to any other number), KILLS, TIRED (so often a worker may find
 * that it has slept for long enough), SPARES (0 or 1), MIN (workers below this number never rest); the others leave a step of the protocol out. */

#define WORKERS 2
#ifndef RESIZES
#define RESIZES 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef TIRED
#define TIRED 0
#endif
#ifndef SPARES
#define SPARES 0
#endif
#ifndef MIN
#define MIN 1
#endif
#define ROOM (TASKS + 1) /* an array has at least one element */
#define PROCESSES (WORKERS + SPARES)

/* The segment. */
#define FREE 0
#define READY 1
#define DONE 2
#define LOST 3
#define RUN(w) (4 + (w))
byte word[ROOM], lane[ROOM]; /* by task */
bool idle[WORKERS], away[WORKERS], dismissed[WORKERS];
bool is_resting[WORKERS]; /* the station's state */
byte gen[WORKERS];
bool stopped; /* the board's state */

/* The roll, which workers do not see. */
#define NOBODY 0
#define RESTS 1
#define PID 2
byte roll[WORKERS], resting, wanted = WORKERS;

/* The kernel. */
bool asleep[WORKERS];
bool forked[PROCESSES], dead[PROCESSES]; /* dead: its pidfd is readable */
byte number[PROCESSES];                  /* what it was told to be, + 1: when it was forked or, a spare, by its socket */
bool hangup[PROCESSES];                  /* the other end of that socket is shut */
bool look_order, stop_order;             /* the control socket; an order to look that finds one there is dropped */

/* A store buffer: READY may become visible after the host's look at `idle`, `away` and the roll. */
byte late_ready; /* the task + 1 */

/* The supervisor's memory. */
byte hand[WORKERS]; /* the process + 1 */
byte spare;         /* the process + 1 */
bool due[WORKERS], stopping, is_over;
#define TAG_STANDBY 100
byte tag[PROCESSES]; /* whose death its pidfd tells: the worker's number + 1, or TAG_STANDBY */

/* Observers; the protocol does not read them. */
byte kills = KILLS, tired = TIRED;
byte server[WORKERS]; /* the process that acts as that worker, + 1 */
byte runner[ROOM];    /* the process + 1 */
bool ran[ROOM];
bool hold[WORKERS]; /* somebody has a copy of the generation */

inline drain()
{
    if :: late_ready -> word[late_ready - 1] = READY; late_ready = 0 :: else fi
}

#define WAKE(w) atomic { if :: hold[w] -> gen[w]++ :: else fi; asleep[w] = false }

/* What stands for one look at all lanes: a later look at the same ones could only find more. */
#if TASKS == 2
#define ANY_READY (word[0] == READY || word[1] == READY)
#elif TASKS == 1
#define ANY_READY (word[0] == READY)
#else
#define ANY_READY false
#endif

#define CLAIM(x) word[x] = RUN(w); runner[x] = p + 1; t = x; goto running
#define CLAIM_OWN(x) :: word[x] == READY && lane[x] == w -> CLAIM(x)
#define CLAIM_ANY(x) :: word[x] == READY -> CLAIM(x)
#if TASKS == 2
#define FOR_EACH(do_with) do_with(0) do_with(1)
#elif TASKS == 1
#define FOR_EACH(do_with) do_with(0)
#else
#define FOR_EACH(do_with)
#endif

/* ---- a process: of a worker, or a spare ---- */

#if KILLS > 0
#define STEP(x) atomic { if :: kills > 0 -> kills--; goto killed :: true fi; x }
#else
#define STEP(x) atomic { x }
#endif

proctype process(byte p)
{
    byte w, t, seen;
    bool is_tired;

end_unborn:
    forked[p];
end_standby:
    if
    :: atomic { number[p] -> w = number[p] - 1 }
    :: atomic { hangup[p] && !number[p] -> goto killed } /* it is not needed, and ends */
#if KILLS > 0
    :: atomic { kills > 0 -> kills--; goto killed }
#endif
    fi;
    STEP(assert(!server[w]); server[w] = p + 1; away[w] = false);

serve:
    STEP(if
         :: stopped || dismissed[w] -> goto killed
         :: else -> if FOR_EACH(CLAIM_OWN) :: else -> if FOR_EACH(CLAIM_ANY) :: else fi fi /* as a thief, or to adopt it */
         fi);
    STEP(seen = gen[w]; hold[w] = true; idle[w] = true; drain()); /* a membarrier makes the host's store visible */
    STEP(if :: stopped || dismissed[w] || ANY_READY -> goto unpark :: else fi);
    STEP(if :: gen[w] == seen -> seen = 0; asleep[w] = true :: else -> goto unpark fi);
end_asleep:
    if
    :: atomic { !asleep[w] -> goto unpark }
#if TIRED > 0
    :: atomic { w >= MIN && tired > 0 && asleep[w] -> tired--; asleep[w] = false; is_tired = true } /* those below never rest */
#endif
#if KILLS > 0
    :: atomic { kills > 0 -> kills--; goto killed }
#endif
    fi;
unpark:
    STEP(idle[w] = false; hold[w] = false; gen[w] = 0; seen = 0; if :: !is_tired -> goto serve :: else fi);
    STEP(is_resting[w] = true);
    goto killed; /* it may have been woken meanwhile */

running:
    STEP(assert(word[t] == RUN(w) && !ran[t]); ran[t] = true; word[t] = DONE; t = 0);
    goto serve;

killed: /* or at its end */
    atomic {
        if
        :: number[p] && server[w] == p + 1 -> server[w] = 0; asleep[w] = false; hold[w] = false; gen[w] = 0
        :: else
        fi;
        w = 0; t = 0; seen = 0; is_tired = false;
        forked[p] = false; number[p] = 0; hangup[p] = false;
        dead[p] = true
    };
    goto end_unborn
}

/* ---- the supervisor ---- */

/* A process that is not in use. */
inline fork_as(n, whose)
{
    p = 0;
    do
    :: forked[p] || dead[p] || tag[p] -> p++
    :: else -> break
    od;
    number[p] = n; tag[p] = whose; forked[p] = true
}

inline look_at_roll()
{
    do
    :: i < WORKERS ->
       if
       :: i >= wanted -> due[i] = false
       :: i < wanted && !hand[i] && roll[i] != RESTS -> due[i] = true
       :: else
       fi;
       i++
    :: else -> i = 0; break
    od
}

inline repair()
{
    do
    :: i < TASKS ->
       if
       :: word[i] == RUN(w) -> assert(runner[i] == p + 1); word[i] = LOST; runner[i] = 0
       :: else
       fi;
       i++
    :: else -> i = 0; break
    od
}

inline start()
{
    is_resting[w] = false;
    if
    :: atomic { spare && !dead[spare - 1] -> p = spare - 1 };
#ifndef KEEPTAG
       tag[p] = w + 1;
#endif
       roll[w] = PID;
       atomic { if :: forked[p] -> number[p] = w + 1 :: else fi } /* else nobody reads it: it dies as that worker */;
       atomic {
           hand[w] = p + 1;
#ifndef KEEPSPARE
           spare = 0
#endif
       }
    :: else ->
       atomic { fork_as(w + 1, w + 1); hand[w] = p + 1 };
       roll[w] = PID
    fi;
    atomic { due[w] = false; p = 0; w = 0 }
}

inline rest() /* leaves in found whether it is to be started all the same */
{
#ifdef RESTLATE
    atomic { drain(); found = ANY_READY };
    atomic { resting++; roll[w] = RESTS };
#else
    atomic { resting++; roll[w] = RESTS };
    atomic {
#ifndef NOFENCE
        drain();
#endif
        found = ANY_READY
    };
#endif
#ifdef NOLASTLOOK
    found = false;
#endif
    atomic {
        if
        :: !found
        :: found && roll[w] == RESTS -> roll[w] = NOBODY; resting--;
#ifdef TWOCALLS
           found = false
#endif
        :: found && roll[w] != RESTS -> found = false /* the host has called it, and says so */
        fi
    }
}

inline bury() /* worker w, which was process p */
{
    atomic {
        dead[p] = false; tag[p] = 0; hand[w] = 0;
#ifndef EARLYTAKE
        repair()
#endif
    };
#ifdef EARLYTAKE
    n = p + 1;
    i = w;
    start();
    w = i;
    p = n - 1;
    atomic { i = 0; repair(); n = 0; w = 0; p = 0 }
#else
#ifndef NOAWAY
    atomic { away[w] = true; drain() };
#endif
    atomic { idle[w] = false; roll[w] = NOBODY };
    if
    :: stopping || stopped
#ifdef NOROLL
    :: !stopping && !stopped ->
#else
    :: !stopping && !stopped && w >= wanted
    :: else ->
#endif
       if
       :: is_resting[w] -> rest()
       :: else -> found = true
       fi;
       due[w] = found
    fi;
    atomic { found = false; w = 0; p = 0 }
#endif
}

#define DIED(x) dead[x] && tag[x] -> p = x

proctype supervisor()
{
    byte w, p, i, n;
    bool found;

    atomic {
        do
        :: w < WORKERS -> fork_as(w + 1, w + 1); hand[w] = p + 1; roll[w] = PID; w++
        :: else -> w = 0; p = 0; break
        od
    };
end:
    do
#ifdef LOOKFIRST
    :: atomic { look_order -> look_at_roll() };
       look_order = false
#else
    :: atomic { look_order -> look_order = false };
       atomic { look_at_roll() }
#endif
    :: atomic { stop_order -> stop_order = false; stopping = true };
#if SPARES > 0 && !defined(NODISMISS)
       atomic { if :: spare -> hangup[spare - 1] = true :: else fi };
#endif
    :: atomic {
           if
           :: DIED(0)
           :: DIED(1)
#if PROCESSES > 2
           :: DIED(2)
#endif
           fi;
           if :: tag[p] != TAG_STANDBY -> w = tag[p] - 1 :: else fi
       };
       if
       :: tag[p] == TAG_STANDBY -> atomic { dead[p] = false; tag[p] = 0; spare = 0; p = 0 }
       :: else -> bury()
       fi
    :: atomic { due[0] && !stopping -> w = 0 }; start()
    :: atomic { due[1] && !stopping -> w = 1 }; start()
#if SPARES > 0
    :: atomic { !spare && !stopping && !stopped -> fork_as(0, TAG_STANDBY); spare = p + 1; p = 0 }
#endif
    :: atomic { stopping && !hand[0] && !hand[1] && !spare -> is_over = true }; break
    od
}

/* ---- the host: submits, changes how many there shall be, waits, and ends the pool ---- */

inline wake_for() /* whoever may come for a task in lane l */
{
    found = idle[0] || idle[1];
    if
    :: !found && TIRED == 0 -> goto submitted
    :: else
    fi;
    if
    :: atomic { found && idle[l] -> drain(); idle[l] = false };
       WAKE(l);
       goto submitted
    :: else
    fi;
    atomic {
        n = 0;
        do
        :: i < TASKS ->
           if
           :: lane[i] == l && (word[i] == READY || word[i] >= RUN(0) || late_ready == i + 1) -> n++
           :: else
           fi;
           i++
        :: else -> i = 0; break
        od;
        if :: n <= 1 && !away[l] -> n = 0; goto submitted :: else -> n = 0 fi
    };
    do
    :: found && i < WORKERS ->
       if
       :: atomic { idle[i] -> drain(); idle[i] = false };
          WAKE(i);
          goto submitted
       :: else
       fi;
       i++
    :: else -> i = 0; break
    od;
    if :: resting == 0 -> goto submitted :: else fi;
    do
    :: i < wanted ->
       atomic {
           drain();
           if
           :: roll[i] == RESTS -> roll[i] = NOBODY; resting--; n = 1
           :: else
           fi;
           i++
       };
       if :: n -> break :: else fi
    :: else -> break
    od;
#ifndef CALLONLY
    atomic { if :: n -> look_order = true :: else fi }
#endif
}

inline resize() /* to n */
{
    found = n < wanted;
    wanted = n;
    dismissed[1] = (n < 2);
    if
    :: found ->
       atomic { if :: roll[1] == RESTS -> roll[1] = NOBODY; resting-- :: else fi };
#ifndef NOWAKE
       i = 1; WAKE(i); i = 0;
#endif
#ifndef NOCALL
       if
       :: atomic { ANY_READY && idle[0] -> idle[0] = false }; WAKE(0)
       :: else
       fi
#endif
    :: else
    fi;
#ifndef NOLOOK
    look_order = true;
#endif
    atomic { found = false; n = 0 }
}

/* As many as there shall be, each known to the supervisor, and no others. */
inline check_crew()
{
    do
    :: i < WORKERS ->
       assert(server[i] == hand[i]);
       assert(i < wanted || !server[i]);
       assert(i >= wanted || server[i] || roll[i] == RESTS);
       i++
    :: else -> i = 0; break
    od;
    assert(!SPARES || (spare && forked[spare - 1] && !number[spare - 1]))
}

proctype host()
{
    byte t, l, i, n, resizes;
    bool found;

again:
    if
    :: t < TASKS ->
       atomic {
           if :: l = 0 :: wanted > 1 -> l = 1 fi;
           lane[t] = l;
           if :: word[t] = READY :: late_ready = t + 1 fi;
           t++
       };
       wake_for();
submitted:
       atomic { drain(); i = 0; n = 0; l = 0; found = false };
       goto again
    :: resizes < RESIZES ->
       atomic { n = 3 - wanted; resizes++ };
       resize();
       goto again
    :: t == TASKS && resizes == RESIZES
    fi;

    do
    :: i < TASKS -> atomic { word[i] == DONE || word[i] == LOST -> i++ }
    :: else -> i = 0; break
    od;
    atomic {
        timeout -> check_crew();
        do
        :: i < TASKS -> assert(word[i] == LOST || ran[i]); i++
        :: else -> i = 0; break
        od
    };

    stopped = true;
    do
    :: i < WORKERS -> WAKE(i); i++
    :: else -> i = 0; break
    od;
    stop_order = true;
    atomic {
        timeout -> assert(is_over);
        do
        :: i < PROCESSES -> assert(!forked[i] && !dead[i]); i++
        :: else -> break
        od
    }
}

/* There need not be as many deaths, or pauses, as there may be. */
proctype mercy()
{
    atomic { kills = 0; tired = 0 }
}

init
{
    byte i;

    atomic {
        do
        :: i < PROCESSES -> run process(i); i++
        :: else -> i = 0; break
        od;
        run supervisor();
        run host();
        run mercy()
    }
}

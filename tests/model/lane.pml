// expect ok:    -DTASKS=3 -DKILLS=2
// expect ok:    -DTASKS=3 -DKILLS=1 -DMAILBOX
// expect ok:    -DTASKS=2 -DKILLS=1 -DHOSTS=2 -DCANCEL
// expect ok:    -DTASKS=2 -DKILLS=1 -DHOSTS=2 -DN=1 -DTIMEOUTS=1
// expect ok:    -DTASKS=2 -DHOSTS=2 -DN=1 -DMAILBOX
// expect ok:    -DTASKS=2 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DCANCEL
// expect ok:    -DTASKS=3 -DWORKERS=2 -DSTEAL -DLANE0
// expect ok:    -DTASKS=2 -DWORKERS=2 -DSTEAL -DN=1
// expect ok:    -DTASKS=2 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DMAILBOX
// expect ok:    -DTASKS=1 -DKILLS=2 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1
// expect ok:    -DTASKS=2 -DHOSTS=2 -DN=1 -DCYCLES
// expect ok:    -DTASKS=2 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DCYCLES
// expect ok:    -DTASKS=1 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DCYCLES
// expect long:  -DTASKS=2 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0
// expect long:  -DTASKS=3 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1
// expect long:  -DTASKS=2 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DMAILBOX
// expect long:  -DTASKS=2 -DKILLS=1 -DWORKERS=2 -DSTEAL -DN=1
// expect long:  -DTASKS=2 -DHOSTS=2 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1
// expect long:  -DTASKS=2 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DCYCLES
// expect long:  -DTASKS=2 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DKEEPBIT # a dead worker's idle bit stays: harmless
// expect error: -DTASKS=1 -DNOMB_PARK                      # a worker parks without a membarrier
// expect error: -DTASKS=1 -DNOMB_WAIT                      # a host thread waits without a membarrier
// expect error: -DTASKS=1 -DLATEGEN                        # the generation is read after the last look
// expect error: -DTASKS=2 -DONEBIT                         # a generation of one bit
// expect error: -DTASKS=1 -DKILLS=1 -DNOKICK               # a death wakes no host thread
// expect error: -DTASKS=1 -DKILLS=1 -DLOSTONLY             # only a death that lost a task wakes host threads
// expect error: -DTASKS=1 -DKILLS=1 -DEARLYKICK            # host threads are woken before LOST is stored
// expect error: -DTASKS=2 -DHOSTS=2 -DN=1 -DNOCOLLECTWAKE  # collecting another thread's slot does not wake it
// expect error: -DTASKS=2 -DHOSTS=2 -DCANCEL -DNOCANCELWAKE # cancelling does not wake the task's waiter
// expect error: -DTASKS=2 -DHOSTS=2 -DN=1 -DOVERWRITE      # a second waiter on a slot replaces the first
// expect error: -DTASKS=1 -DKILLS=1 -DWORKERS=2 -DSTEAL -DLANE0 -DN=1 -DNOOWNER # RUN does not say who runs
// expect error: -DTASKS=1 -DKILLS=1 -DLATECURRENT          # `current` is stored after the claim
// expect error: -DTASKS=1 -DKILLS=1 -DEARLYSTART           # the replacement starts before the repair
// expect error: -DTASKS=2 -DKILLS=1 -DN=1 -DNOFENCE        # the repair does not wait until the victim's stores are over
// expect error: -DTASKS=3 -DKILLS=1 -DSCANCURSOR           # a replacement takes its cursor from a scan of the slots
// expect error: -DTASKS=1 -DZEROPOS                        # positions start at 0, which is what a fresh slot holds

/* Lanes: how a task travels from a host thread to a worker and its answer back, with a worker killed before any step.
 *
 * README.md says what each process does, what is checked and what is left out.  A step of a process is one access to
 * memory that others write; a worker may be killed between any two.  Flags: WORKERS, HOSTS (threads under one mutex),
 * TASKS, KILLS, N (ring slots of a lane), MAILBOX (one more slot a lane), STEAL, CANCEL, TIMEOUTS (waits given up), LANE0
 * (the host uses lane 0 only, so that worker 1 lives on what it steals), CYCLES (read by run.sh); the others leave a step
 * of the protocol out. */

#ifndef WORKERS
#define WORKERS 1
#endif
#ifndef HOSTS
#define HOSTS 1
#endif
#ifndef TASKS
#define TASKS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0
#endif
#ifndef N
#define N 2
#endif

#ifdef MAILBOX
#define PER (N + 1)
#else
#define PER N
#endif
#define SLOTS (WORKERS * PER)
#define RING(lane, p) ((lane) * PER + (p) % N)
#define MAIL(lane) ((lane) * PER + N)
#define IS_MAIL(s) (PER > N && (s) % PER == N)
#define LANE(s) ((s) / PER)

/* A word is position * 8 + state.  A slot that was never used is all zero. */
#define DONE 0
#define READY 1
#define LOST 2
#define CANCELLED 3
#ifdef NOOWNER
#define RUN(w) 4
#else
#define RUN(w) (4 + (w))
#endif
#define WORD(p, state) ((p) * 8 + (state))
#define POS(v) ((v) / 8)
#define STATE(v) ((v) % 8)
#define ANSWERED(v) (STATE(v) == DONE || STATE(v) == LOST)
#define UNANSWERED(v) (STATE(v) == READY || STATE(v) >= RUN(0))

/* The ring's first position: larger than what an unused slot holds, or the first cursor would step over it. */
#ifdef ZEROPOS
#define FIRST 0
#else
#define FIRST 1
#endif

#ifdef ONEBIT
#define NEXT(g) (1 - (g))
#else
#define NEXT(g) ((g) + 1)
#endif

/* The segment. */
byte word[SLOTS];
byte task[SLOTS];           /* stands for everything the host writes before READY */
byte waiter[SLOTS];         /* 0, or the parker to wake, plus 1 */
byte current_slot[WORKERS]; /* plus 1 */
byte current_pos[WORKERS];
byte head[WORKERS];
bool idle[WORKERS]; /* one bitmap: atomic or, atomic and, plain load */
byte gen_w[WORKERS];
byte gen_h[HOSTS];

/* The kernel. */
bool asleep_w[WORKERS]; /* queued on its own futex */
byte asleep_h[HOSTS];   /* the parker on whose futex this thread is queued, plus 1 */
bool dead[WORKERS];     /* its pidfd is readable */

/* Store buffers: a store that its own processor has done and no other can see yet. */
byte late_ready, late_word; /* slot plus 1 and its word; one is enough, since the mutex drains it */
byte late_done[WORKERS];    /* slot plus 1; the position is in current_pos */

/* The host's private memory, all of it under the mutex. */
bool mutex;
byte held[SLOTS]; /* the task in it plus 1: the mirror */
byte tail[WORKERS], mail[WORKERS];
byte where[TASKS]; /* slot plus 1 */
byte fate[TASKS];
#define PENDING 0
#define FATE_OK 1
#define FATE_LOST 2
#define FATE_CANCELLED 3

/* Observers; the protocol does not read them. */
byte kills = KILLS, timeouts = TIMEOUTS;
bool ran[TASKS];
byte claimer[TASKS]; /* worker plus 1 */
bool hold_w[WORKERS];
byte hold_h[HOSTS];

/* Generations are compared with a copy taken earlier in the same wait, so only their growth while somebody holds a copy
   matters.  Keeping them at 0 otherwise makes many states one. */
#define BUMP_W(w) if :: hold_w[w] -> gen_w[w] = NEXT(gen_w[w]) :: else fi
#define BUMP_H(k) if :: hold_h[k] > 0 -> gen_h[k] = NEXT(gen_h[k]) :: else fi

inline wake_host(k)
{
    if :: asleep_h[0] == k + 1 -> asleep_h[0] = 0 :: else fi;
#if HOSTS > 1
    if :: asleep_h[1] == k + 1 -> asleep_h[1] = 0 :: else fi
#endif
}

inline drain_done(w)
{
    if
    :: late_done[w] -> word[late_done[w] - 1] = WORD(current_pos[w], DONE); late_done[w] = 0
    :: else
    fi
}

inline drain_ready()
{
    if
    :: late_ready -> word[late_ready - 1] = late_word; late_ready = 0; late_word = 0
    :: else
    fi
}

inline membarrier()
{
    drain_ready();
    drain_done(0);
#if WORKERS > 1
    drain_done(1)
#endif
}

/* ---- the worker ---- */

#if KILLS > 0
#define STEP(x) atomic { if :: kills > 0 -> kills--; goto killed :: true fi; x }
#else
#define STEP(x) atomic { x }
#endif

#ifdef STEAL
#define IN_REACH SLOTS /* what it looks at before it sleeps */
#else
#define IN_REACH PER
#endif

proctype worker(byte w)
{
    byte h /* cursor */, s, v, g, i, k;

begin:
#ifdef SCANCURSOR
    h = 255;
scan:
    STEP(v = word[RING(w, i)];
         if :: STATE(v) == READY && POS(v) < h -> h = POS(v) :: else fi;
         if :: POS(v) > k -> k = POS(v) :: else fi;
         i++;
         if
         :: i < N -> goto scan
         :: else -> if :: h == 255 -> h = k + 1 :: else fi; i = 0; v = 0; k = 0
         fi);
#else
    STEP(h = head[w]);
#endif

look:
#ifdef MAILBOX
    STEP(s = MAIL(w); v = word[s]; if :: STATE(v) == READY -> goto claim :: else fi);
#endif
    STEP(s = RING(w, h); v = word[s];
         if
         :: POS(v) < h -> s = 0; v = 0 /* the host has not come this far */
         :: POS(v) == h && STATE(v) == READY -> goto claim
         :: else -> h++; s = 0; v = 0; goto look
         fi);

#ifdef STEAL
steal:
    STEP(k = (w + 1 + i / N) % WORKERS;
         s = RING(k, head[k] + i % N); v = word[s]; k = 0; i++;
         if
         :: STATE(v) == READY -> i = 0; goto claim
         :: else -> s = 0; v = 0; if :: i < (WORKERS - 1) * N -> goto steal :: else -> i = 0 fi
         fi);
#endif

    STEP(g = gen_w[w]; hold_w[w] = true);
    STEP(idle[w] = true);
#ifndef NOMB_PARK
    STEP(membarrier());
#endif
last_look:
    STEP(s = (w * PER + i) % SLOTS; v = word[s]; i++;
         if
         :: STATE(v) == READY && !(IS_MAIL(s) && LANE(s) != w) ->
            assert(LANE(s) != w || IS_MAIL(s) || POS(v) >= h); /* or its cursor will never come to it */
            i = 0; s = 0; v = 0; goto unpark
         :: else -> s = 0; v = 0; if :: i < IN_REACH -> goto last_look :: else -> i = 0 fi
         fi);
    STEP(if :: gen_w[w] == g -> asleep_w[w] = true :: else -> goto unpark fi);
end_asleep:
    if
    :: atomic { !asleep_w[w] -> goto unpark }
#if KILLS > 0
    :: atomic { kills > 0 -> kills--; goto killed }
#endif
    fi;
unpark:
    STEP(idle[w] = false; hold_w[w] = false; gen_w[w] = 0; g = 0);
    goto look;

claim: /* word v of slot s was READY */
#ifndef LATECURRENT
    STEP(current_slot[w] = s + 1; current_pos[w] = POS(v));
#endif
    STEP(if
         :: word[s] == v -> word[s] = WORD(POS(v), RUN(w)); claimer[task[s]] = w + 1
         :: else -> s = 0; v = 0; goto look
         fi);
#ifdef LATECURRENT
    STEP(current_slot[w] = s + 1; current_pos[w] = POS(v));
#endif
    STEP(assert(!ran[task[s]] && fate[task[s]] == PENDING); ran[task[s]] = true);
    STEP(assert(word[s] == WORD(POS(v), RUN(w)));
         if
         :: word[s] = WORD(POS(v), DONE)
         :: late_done[w] = s + 1 /* seen after the load of `waiter` below */
         fi);
    STEP(k = waiter[s]; if :: !late_done[w] -> goto answered :: else fi);
    STEP(drain_done(w));
answered:
    if
    :: k ->
       STEP(BUMP_H(k - 1));
       STEP(wake_host(k - 1); k = 0)
    :: else
    fi;
    STEP(if :: LANE(s) == w && !IS_MAIL(s) -> h = POS(v) + 1; head[w] = h :: else fi; s = 0; v = 0);
    goto look;

killed: /* its stores are drained, then its pidfd becomes readable */
    atomic {
#ifndef NOFENCE
        drain_done(w);
#endif
        asleep_w[w] = false; hold_w[w] = false; gen_w[w] = 0;
        h = 0; s = 0; v = 0; g = 0; i = 0; k = 0;
        dead[w] = true
    };
#ifdef NOFENCE
    atomic { drain_done(w) };
#endif
    !dead[w] -> goto begin /* the replacement: same number, same lane */
}

/* ---- the supervisor ---- */

inline kick()
{
    do
    :: k < HOSTS -> atomic { BUMP_H(k) }; atomic { wake_host(k); k++ }
    :: else -> k = 0; break
    od
}

proctype supervisor()
{
    byte w, k, s;
    bool found;

end:
    do
    :: atomic {
           if
           :: dead[0] -> w = 0
#if WORKERS > 1
           :: dead[1] -> w = 1
#endif
           fi
       };
#ifdef EARLYSTART
       atomic { dead[w] = false };
#endif
#ifdef EARLYKICK
       kick();
#endif
       atomic {
           if
           :: current_slot[w] ->
              s = current_slot[w] - 1;
              if
              :: word[s] == WORD(current_pos[w], RUN(w)) ->
                 assert(claimer[task[s]] == w + 1); /* LOST only what the dead had claimed */
                 word[s] = WORD(current_pos[w], LOST);
                 found = true
              :: else
              fi;
              s = 0
           :: else
           fi
       };
#ifndef KEEPBIT
       idle[w] = false;
#endif
#ifdef LOSTONLY
       if :: found -> found = false; kick() :: else fi;
#elif !defined(NOKICK) && !defined(EARLYKICK)
       found = false;
       kick();
#endif
#ifndef EARLYSTART
       atomic { dead[w] = false; w = 0 }
#else
       w = 0
#endif
    od
}

/* ---- a host thread: submits its tasks, may cancel one of anybody's, waits for its own ---- */

inline collect() /* slot s, which is answered; leaves the parker to wake in k */
{
    assert(fate[held[s] - 1] == PENDING);
    if
    :: STATE(word[s]) == DONE -> assert(ran[held[s] - 1]); fate[held[s] - 1] = FATE_OK
    :: else -> fate[held[s] - 1] = FATE_LOST
    fi;
    held[s] = 0; k = waiter[s]; waiter[s] = 0; s = 0;
#ifdef NOCOLLECTWAKE
    k = 0;
#endif
    mutex = false
}

inline publish() /* task t in slot s of lane l */
{
    busy = held[RING(l, 0)] || (N > 1 && held[RING(l, 1)]);
    held[s] = t + 1; where[t] = s + 1; task[s] = t; waiter[s] = 0;
    if
    :: IS_MAIL(s) -> mail[l]++; v = mail[l]
    :: else -> v = tail[l]; tail[l]++
    fi;
    if
    :: word[s] = WORD(v, READY)
    :: late_ready = s + 1; late_word = WORD(v, READY) /* seen after the load of `idle` below */
    fi;
    v = 0; s = 0
}

#define COLLECTABLE(x) held[x] && ANSWERED(word[x]) -> s = x

proctype host(byte me)
{
    byte t = me, s, l, k, g, v, x;
    bool busy, submitted;

submit:
    if
    :: t >= TASKS -> atomic { submitted = true; t = me }; goto cancel
    :: else
    fi;
    atomic {
        !mutex -> mutex = true;
#if WORKERS > 1 && !defined(LANE0)
        if :: l = 0 :: l = 1 fi;
#endif
        s = RING(l, tail[l]);
#ifdef MAILBOX
        if :: s = MAIL(l) :: true fi;
#endif
        if
        :: !held[s] -> publish()
        :: held[s] && ANSWERED(word[s]) -> l = 0; collect(); goto tell
        :: held[s] && !ANSWERED(word[s]) -> l = 0; goto arm /* no room */
        fi
    };
    atomic {
        if
        :: idle[l] -> x = l + 1
#ifdef STEAL
        :: !idle[l] && busy && idle[0] -> x = 1
        :: !idle[l] && busy && idle[1] -> x = 2
#endif
        :: else
        fi;
        l = 0; busy = false;
        if :: !x && !late_ready -> mutex = false; t = t + HOSTS; goto submit :: else fi
    };
    atomic { /* the atomic and, or else the mutex's release, drains READY */
        drain_ready();
        if :: x && idle[x - 1] -> idle[x - 1] = false :: else -> x = 0 fi;
        t = t + HOSTS; mutex = false;
        if :: !x -> goto submit :: else fi
    };
    atomic { BUMP_W(x - 1) };
    atomic { asleep_w[x - 1] = false; x = 0 };
    goto submit;

cancel:
#ifdef CANCEL
    atomic {
        !mutex -> mutex = true;
        if :: x = 0 :: x = TASKS - 1 fi;
        if
        :: where[x] && fate[x] == PENDING && STATE(word[where[x] - 1]) == READY ->
           s = where[x] - 1;
           assert(held[s] == x + 1 && !ran[x]);
           word[s] = WORD(POS(word[s]), CANCELLED); fate[x] = FATE_CANCELLED;
           held[s] = 0; k = waiter[s]; waiter[s] = 0; s = 0;
#ifdef NOCANCELWAKE
           k = 0
#endif
        :: else
        fi;
        x = 0; mutex = false
    };
#endif

tell:
    if
    :: k ->
       atomic { BUMP_H(k - 1) };
       atomic { wake_host(k - 1); k = 0 }
    :: else
    fi;
    if :: !submitted -> goto submit :: else fi;

wait:
    if :: t >= TASKS -> goto out :: else fi;
    atomic {
        !mutex -> mutex = true;
        if
        :: fate[t] != PENDING || !where[t] -> mutex = false; t = t + HOSTS; goto wait
        :: fate[t] == PENDING && where[t] && !ANSWERED(word[where[t] - 1]) -> s = where[t] - 1; goto arm
        :: COLLECTABLE(0) /* its own or anybody's */
#if SLOTS > 1
        :: COLLECTABLE(1)
#endif
#if SLOTS > 2
        :: COLLECTABLE(2)
#endif
#if SLOTS > 3
        :: COLLECTABLE(3)
#endif
#if SLOTS > 4
        :: COLLECTABLE(4)
        :: COLLECTABLE(5)
#endif
        fi;
        collect(); goto tell
    };

arm: /* under the mutex: slot s is not answered */
    atomic {
        k = waiter[s];
#ifdef OVERWRITE
        k = 0;
#endif
        if :: !k -> k = me + 1 :: else fi; /* a second waiter sleeps on the first one's parker */
        v = POS(word[s]);
#ifndef LATEGEN
        g = gen_h[k - 1]; hold_h[k - 1]++
#endif
    };
    atomic { waiter[s] = k; mutex = false };
#ifndef NOMB_WAIT
    atomic { membarrier() };
#endif
    atomic { if :: POS(word[s]) == v && UNANSWERED(word[s]) :: else -> goto disarm fi };
#ifdef LATEGEN
    atomic { g = gen_h[k - 1]; hold_h[k - 1]++ };
#endif
    atomic { if :: gen_h[k - 1] == g -> asleep_h[me] = k :: else -> goto disarm fi };
    if
    :: asleep_h[me] == 0
#if TIMEOUTS > 0
    :: atomic { timeouts > 0 -> timeouts--; asleep_h[me] = 0; t = t + HOSTS }
#endif
    fi;
disarm:
    atomic {
        hold_h[k - 1]--;
        if :: hold_h[k - 1] == 0 -> gen_h[k - 1] = 0 :: else fi;
        k = 0; g = 0; v = 0; s = 0
    };
    if :: submitted -> goto wait :: else -> goto submit fi;
out:
    skip
}

init
{
    byte i;

    atomic {
        do
        :: i < WORKERS -> head[i] = FIRST; tail[i] = FIRST; run worker(i); i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < HOSTS -> run host(i); i++
        :: else -> break
        od;
        i = 0;
        run supervisor()
    }
}

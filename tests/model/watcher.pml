// expect ok:    -DTASKS=2
// expect ok:    -DTASKS=3 -DLONG
// expect ok:    -DTASKS=2 -DLONG -DKILLS=1
// expect ok:    -DTASKS=2 -DLONG -DCLEARS=1
// expect long:  -DTASKS=2 -DLONG -DCLEARS=2
// expect long:  -DTASKS=2 -DLONG -DKILLS=1 -DCLEARS=1
// expect long:  -DTASKS=3 -DNOBUFFER
// expect long:  -DTASKS=3 -DLONG -DNOTHIEF             # who was called, or had the post, hands on already
// expect error: -DTASKS=2 -DLONG -DNOHANDON            # who was called to help takes a task of its own, and tells nobody
// expect error: -DTASKS=2 -DNOCALLTOO                   # a worker that has just seen a task is woken for the next one as if for the first
// expect error: -DTASKS=2 -DLONG -DNOFENCE             # no membarrier when the post is left
// expect error: -DTASKS=2 -DLONG -DKILLS=1 -DNOCALL    # a death calls no worker to help
// expect error: -DTASKS=3 -DLONG -DKILLS=1 -DNOFINISH  # a worker that the dead one was about to wake is not woken
// expect error: -DTASKS=3 -DLONG -DKILLS=1 -DNAMELATE  # a worker names the one that it wakes after it has cleared the bit
// expect error: -DTASKS=2 -DLONG -DKILLS=1 -DNOBURIALFENCE # the supervisor looks at the lanes without a membarrier
// expect error: -DTASKS=2 -DLONG -DKILLS=1 -DKEEPPOST  # the supervisor leaves the post to the dead
// expect error: -DTASKS=2 -DLONG -DCLEARS=1 -DNORELOOK # a worker that has cleared a lane's bit does not look again
// expect error: -DTASKS=2 -DLONG -DCLEARS=1 -DEARLYRELOOK # it looks again in front of its membarrier
// expect error: -DTASKS=2 -DLONG -DCLEARS=1 -DNOHANDONTOO # it has found a task there, and takes one of its own, and tells no other
// expect error: -DTASKS=2 -DLONG -DCLEARS=1 -DBITFIRST # the host looks at the bit before it publishes
// expect error: -DTASKS=2 -DLONG -DKILLS=1 -DCLEARS=1 -DNOREPAIR # the bit that the dead worker has cleared stays cleared

/* The watcher: does a task wait for ever, while somebody sleeps for good and nobody does anything more?
 *
 * Three workers, and a host that submits TASKS tasks to any lanes and is not heard of again.  A task ends, or never does.
 * With LONG worker 0 is at such a task from the beginning.  With NOBUFFER what the host stores is visible at once.  With
 * KILLS worker 1 may be killed before any of its steps.  So often as CLEARS says a worker takes back the word that there is
 * work in a lane.  The other flags leave a step out.  README.md says more. */

#define WORKERS 3
#ifndef KILLS
#define KILLS 0
#endif
#ifndef CLEARS
#define CLEARS 0
#endif
#define BIT(w) (1 << (w))

/* The segment. */
byte idle; /* a bit a worker */
#if CLEARS > 0
byte work = 1; /* a bit a lane: there may be a task in it */
#else
byte work = 7;
#endif
bool away[WORKERS];
byte post;
bool called[WORKERS]; /* since it parked `calls` has grown */
bool taken[TASKS];
byte lane[TASKS + 1]; /* by task; the last is what worker 0 is at with LONG */

/* The host's store buffer: what it has sent and is not visible.  The order stays. */
byte sent, visible;

/* The parkers and the kernel. */
bool has_parked[WORKERS]; /* it has a copy of its generation */
bool woken[WORKERS];      /* the generation is another one */
bool asleep[WORKERS];     /* until it is woken */
bool dead[WORKERS];
byte waking; /* the worker that the victim is about to wake, plus 1; in its station */

/* The host's mirror, by lane: what is outstanding if all is collected that can be, and if nothing is. */
byte unfinished[WORKERS], submitted[WORKERS];

byte kills = KILLS;
byte clears = CLEARS;
bool is_clearing; /* the victim, in its station */

#ifdef NOBUFFER
#define SEND visible = sent
#else
#define SEND skip
#endif

inline drain() { visible = sent }

#define WAITS(t) (t < visible && !taken[t])
#if TASKS == 3
#define WAITING (WAITS(0) || WAITS(1) || WAITS(2))
#define FIRST(t) (t == 0 || ((!WAITS(0) || lane[0] != lane[t]) && (t == 1 || !WAITS(1) || lane[1] != lane[t])))
#define FOR_EACH(do_with) do_with(0) do_with(1) do_with(2)
#else
#define WAITING (WAITS(0) || WAITS(1))
#define FIRST(t) (t == 0 || !WAITS(0) || lane[0] != lane[t])
#define FOR_EACH(do_with) do_with(0) do_with(1)
#endif
/* Looked for where the bits say. */
#define SEEN(t) (WAITS(t) && (work & BIT(lane[t])))
#if TASKS == 3
#define SEEN_WAITING (SEEN(0) || SEEN(1) || SEEN(2))
#else
#define SEEN_WAITING (SEEN(0) || SEEN(1))
#endif
#define WAITS_IN(t, l) (WAITS(t) && lane[t] == (l))
#if TASKS == 3
#define WAITING_IN(l) (WAITS_IN(0, l) || WAITS_IN(1, l) || WAITS_IN(2, l))
#else
#define WAITING_IN(l) (WAITS_IN(0, l) || WAITS_IN(1, l))
#endif

#define OWN(x) :: WAITS_IN(x, w) && FIRST(x) -> t = x; taken[x] = true; holds = true; goto claimed
#define OTHER(x) :: !WAITING_IN(w) && SEEN(x) && FIRST(x) -> t = x; goto steal

#define WAKE(w) if :: has_parked[w] -> woken[w] = true :: else fi
#if KILLS > 0
#define AND_WAKE break /* a step of its own, before which it may die */
#else
#define AND_WAKE WAKE(i); i = 0; goto running
#endif
#define NAME if :: w == VICTIM -> waking = i + 1 :: else fi
#define FORGET if :: w == VICTIM -> waking = 0 :: else fi
#if KILLS > 0 && !defined(NAMELATE)
#define NAME_FIRST NAME
#else
#define NAME_FIRST skip
#endif
#define CALL(w) called[w] = has_parked[w]
#define CALL_ALL CALL(0); CALL(1); CALL(2)
/* The number of any bit of n. */
#define ANY(n, i) if :: n & 1 -> i = 0 :: n & 2 -> i = 1 :: n & 4 -> i = 2 fi

#define VICTIM 1

/* To park, when nothing waits in its own lane, and it may take what waits in others or not.  A lane whose bit is set, and
 * where it has seen nothing, may be chosen to be cleared. */
#if CLEARS > 0
#define CLEAR(l) :: clears > 0 && (!KILLS || w == VICTIM) && (work & BIT(l)) && !WAITING_IN(l) -> clears--; cleared = l + 1
#define MAY_CLEAR if :: true CLEAR(0) CLEAR(1) CLEAR(2) fi
#ifdef NOHANDONTOO
#define HANDS_ON skip
#else
#define HANDS_ON must_pass_wake = true
#endif
#define RELOOK if :: cleared && WAITING_IN(cleared - 1) -> work = work | BIT(cleared - 1); HANDS_ON :: else fi
#else
#define MAY_CLEAR skip
#endif
#if KILLS > 0
#define STEP(x) atomic { if :: w == VICTIM && kills > 0 -> kills--; goto killed :: true fi; x }
#define MAY_DIE :: atomic { w == VICTIM && kills > 0 -> kills--; goto killed }
#else
#define STEP(x) atomic { x }
#define MAY_DIE
#endif

proctype worker(byte w)
{
    byte t, i, snapshot;
    bool must_pass_wake, is_watcher, holds;
#if CLEARS > 0
    byte cleared; /* a lane, plus 1 */
#endif

#ifdef LONG
    if :: w == 0 -> t = TASKS; holds = true; goto running :: else fi;
#endif
begin:
    STEP(away[w] = false);
serve:
    STEP(if
         FOR_EACH(OWN)
         FOR_EACH(OTHER) /* or not, if whoever it waits behind has got on */
         :: !WAITING_IN(w) -> MAY_CLEAR
         fi);
#if CLEARS > 0
    if
    :: cleared ->
#if KILLS > 0
       STEP(if :: w == VICTIM -> is_clearing = true :: else fi);
#endif
       STEP(work = work & ~BIT(cleared - 1))
    :: else
    fi;
#ifdef EARLYRELOOK
    STEP(RELOOK);
#endif
#endif
    STEP(idle = idle | BIT(w); has_parked[w] = true; drain());
#if CLEARS > 0
#if !defined(NORELOOK) && !defined(EARLYRELOOK)
    STEP(RELOOK);
#endif
    STEP(cleared = 0; if :: w == VICTIM -> is_clearing = false :: else fi);
#endif
    STEP(if
         :: WAITING_IN(w) -> goto unpark
         :: !WAITING_IN(w) && !SEEN_WAITING -> asleep[w] = true; goto end_asleep
         :: !WAITING_IN(w) /* something waits, or it has seen somebody get on */
         fi);
    STEP(if
         :: post && post != w + 1 -> asleep[w] = true; goto end_asleep
         :: else -> post = w + 1; is_watcher = true
         fi);
    goto unpark; /* whenever it likes: woken, with something found, or for nobody gets on */
end_asleep: /* for good */
    if
    :: atomic { woken[w] -> asleep[w] = false }
    MAY_DIE
    fi;
unpark:
    STEP(
        idle = idle & ~BIT(w); has_parked[w] = false; woken[w] = false;
#ifndef NOHANDON
        must_pass_wake = called[w] || is_watcher || must_pass_wake;
#endif
        called[w] = false;
        if :: is_watcher :: else -> goto serve fi);
    STEP(
        is_watcher = false;
        post = 0;
#ifndef NOFENCE
        drain();
#endif
        goto serve);

steal:
    STEP(away[w] = true; drain());
    STEP(
#ifndef NOTHIEF
        must_pass_wake = true;
#endif
        if :: taken[t] -> t = 0; away[w] = false; goto serve :: else -> taken[t] = true; holds = true fi);

claimed:
    if
    :: must_pass_wake ->
       STEP(must_pass_wake = false;
            if :: post || !SEEN_WAITING -> goto running :: else -> CALL_ALL; snapshot = idle fi);
       do
       :: STEP(if
               :: !snapshot -> goto running
               :: else -> ANY(snapshot, i); snapshot = snapshot & ~BIT(i);
                          NAME_FIRST;
#if KILLS > 0
               fi);
          STEP(if
               :: true ->
#endif
                          if :: idle & BIT(i) -> idle = idle & ~BIT(i); snapshot = 0; AND_WAKE :: else -> i = 0 fi
               fi)
       od;
#if KILLS > 0
#ifdef NAMELATE
       STEP(NAME);
#endif
       STEP(WAKE(i); i = 0);
       STEP(FORGET)
#endif
    :: else
    fi;
running:
    STEP(if
         :: t < TASKS -> unfinished[lane[t]]--; t = 0; holds = false; away[w] = false; goto serve
         :: true -> t = t * (KILLS > 0); holds = holds && KILLS > 0
         fi);
end_endless:
    if
    :: false -> skip
    MAY_DIE
    fi;

killed:
    atomic {
        if :: holds -> unfinished[lane[t]]-- :: else fi;
        asleep[w] = false; has_parked[w] = false; woken[w] = false; called[w] = false;
#if CLEARS > 0
        cleared = 0;
#endif
        t = 0; i = 0; snapshot = 0; holds = false; must_pass_wake = false; is_watcher = false;
        dead[w] = true
    };
end_dead:
    atomic { !dead[w] -> skip };
    goto begin
}

#if KILLS > 0
/* The burial of the victim, and its successor. */
proctype supervisor()
{
    byte w, i, snapshot;

end:
    do
    :: atomic { dead[VICTIM] -> w = VICTIM };
       away[w] = true;
       idle = idle & ~BIT(w);
#ifndef KEEPPOST
       atomic { if :: post == w + 1 -> post = 0 :: else fi };
#endif
#ifndef NOBURIALFENCE
       drain();
#endif
#ifndef NOFINISH
       atomic { if :: waking -> i = waking - 1; WAKE(i); i = 0 :: else fi };
#endif
       waking = 0;
#ifndef NOREPAIR
       /* The look and the bit are two steps: it may have been taken meanwhile, and the bit is one too many. */
       atomic { snapshot = (is_clearing -> (WAITING_IN(0) -> 1 : 0) + (WAITING_IN(1) -> 2 : 0) + (WAITING_IN(2) -> 4 : 0) : 0) };
       work = work | snapshot;
#endif
       atomic { is_clearing = false; snapshot = 0 };
#ifndef NOCALL
       atomic { if :: post || !SEEN_WAITING -> snapshot = 0 :: else -> CALL_ALL; snapshot = idle fi };
       do
       :: atomic {
              if
              :: !snapshot -> break
              :: else -> ANY(snapshot, i); snapshot = snapshot & ~BIT(i)
              fi;
              if :: idle & BIT(i) -> idle = idle & ~BIT(i); snapshot = 0; WAKE(i); i = 0 :: else -> i = 0 fi
          }
       od;
#endif
       atomic { dead[w] = false; w = 0 }
    od
}

#endif

proctype buffer()
{
end:
    do
    :: atomic { visible < sent -> visible++ }
    od
}

proctype host()
{
    byte l, i, snapshot;

again:
    atomic {
        if :: sent == TASKS -> l = 0; goto over :: else fi;
        /* Workers are alike, but for the victim: of the lanes where nothing has been, the first. */
        if :: l = 0 :: submitted[0] -> l = 1 :: submitted[1] || KILLS > 0 -> l = 2 fi;
        lane[sent] = l;
#ifdef BITFIRST
        if :: !(work & BIT(l)) -> drain(); work = work | BIT(l) :: else fi
    };
    atomic {
        unfinished[l]++; submitted[l]++; sent++; SEND
    };
#else
        unfinished[l]++; submitted[l]++; sent++; SEND
    };
    atomic { if :: !(work & BIT(l)) -> drain(); work = work | BIT(l) :: else fi };
#endif
    if :: idle == 0 -> goto again :: else fi;
    atomic {
        if
        :: idle & BIT(l) ->
           drain();
#ifndef NOCALLTOO
           if :: unfinished[l] > 1 -> CALL_ALL :: else fi;
#endif
           idle = idle & ~BIT(l); WAKE(l); goto again
        :: else
        fi
    };
    if
    :: unfinished[l] <= 1 && !away[l] -> goto again
    :: submitted[l] > 1 || away[l]
    fi;
    if
    :: post -> goto again
    :: true /* nobody has it, or the lane's tasks are thought to be long */
    fi;
    atomic { drain(); CALL_ALL; snapshot = idle };
    do
    :: atomic {
           if
           :: !snapshot -> goto again
           :: else -> ANY(snapshot, i); snapshot = snapshot & ~BIT(i)
           fi;
           if :: idle & BIT(i) -> idle = idle & ~BIT(i); snapshot = 0; WAKE(i); i = 0; goto again :: else -> i = 0 fi
       }
    od;
over:
#if KILLS > 0
    kills = 0; /* there need not be a death */
#endif
    atomic {
        timeout -> assert(visible == TASKS && (!WAITING || !(asleep[0] || asleep[1] || asleep[2])))
    }
}

init
{
#ifdef LONG
    unfinished[0] = 1;
    submitted[0] = 1;
#endif
    atomic { run worker(0); run worker(1); run worker(2); run buffer(); run host() };
#if KILLS > 0
    run supervisor()
#endif
}
